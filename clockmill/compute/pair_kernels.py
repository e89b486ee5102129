"""The loops over pairs of products: each pair once, or all partners of chosen products.

Gustavson's row by row accumulation (ACM TOMS 4(3), 1978) over products as labels: 0, 1, 2 ... by falling number of
users, so that the places written most lie together in the cache. Better is a higher score, then a lower id.

Whole values are summed in one int64, support times 2**SHIFT plus dot product: one addition a wedge. Other values are
summed as float64, their supports beside them in `counts`; always in the order of the users, so that all ways to the
same pair give the same bits.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.dense_core import core_row, core_support
from clockmill.compute.heaps import CAUTION, best_first, offer
from clockmill.compute.native import kernel
from clockmill.compute.scoring import PRODUCT, Scoring, score

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]

#: Of a packed sum the lower 40 bits are the dot product of whole numbers, the upper ones the support.
SHIFT = 40
ONE = 1 << SHIFT
HALF = 1 << (SHIFT - 1)

#: A row's partners are looked through in stretches: the bar rises between them.
STRETCH = 256


class Kept(NamedTuple):
    """Partners of a stretch that are worth a score."""

    partners: Ints
    dots: Floats
    supports: Ints


@kernel
def sort_by_user(
    matrix: Any, product_values: Any, starts: Ints, cursors: Ints, last_user: int, squares: Floats
) -> None:
    """Fills a PairMatrix for the users from where the last call ended to `last_user` - 1.

    Products are passed by label, which leaves each user's labels ascending. `starts` are the places of each product's
    next entry by label, `cursors` those of each user's.
    """
    for label in range(matrix.order.size):
        product = matrix.order[label]
        end = matrix.indptr[product + 1]
        at = starts[label]
        while at < end and matrix.users[at] < last_user:
            user = matrix.users[at]
            place = cursors[user]
            cursors[user] = place + 1
            value = product_values[at]
            matrix.labels[place] = label
            matrix.values[place] = value
            matrix.own[at] = place
            matrix.wedges[label] += place - matrix.user_ptr[user]
            squares[label] += float(value) * float(value)
            at += 1
        starts[label] = at


@kernel
def add_whole(partners: Numbers, theirs: Any, value: Any, dense: bool, sums: Any, touched: Numbers, count: int) -> int:
    """Adds one user's products to packed sums; notes the new ones in `touched` unless `dense`. Their number."""
    if dense:
        for entry in range(partners.size):
            sums[partners[entry]] += value * theirs[entry] + ONE
        return count
    for entry in range(partners.size):
        c = partners[entry]
        before = sums[c]
        # Without a branch: a new partner is kept by moving on, an old one is overwritten.
        touched[count] = c
        count += before == 0
        sums[c] = before + value * theirs[entry] + ONE
    return count


@kernel
def add_real(partners: Numbers, theirs: Any, value: Any, sums: Any, counts: Any, touched: Numbers, count: int) -> int:
    """Adds one user's products to sums and counts; notes the new ones in `touched`. Their number."""
    for entry in range(partners.size):
        c = partners[entry]
        before = counts[c]
        touched[count] = c
        count += before == 0
        counts[c] = before + 1
        sums[c] += value * theirs[entry]
    return count


@kernel
def promising(
    sums: Any,
    counts: Any,
    touched: Numbers,
    dense: bool,
    low: int,
    high: int,
    reaching: Floats,
    own: float,
    bar: float,
    bars: Floats,
    kept: Kept,
) -> int:
    """Keeps the touched partners from `low` to `high` that the heap of either side may take; their number.

    Clears all their places. Without a branch: which of a row's partners are kept cannot be foreseen.
    """
    whole = counts.size == 0
    count = 0
    for at in range(low, high):
        c = np.int64(at) if dense else np.int64(touched[at])
        if whole:
            packed = np.int64(sums[c])
            support = (packed + HALF) >> SHIFT
            dot = np.float64(packed - (support << SHIFT))
        else:
            support = np.int64(counts[c])
            dot = np.float64(sums[c])
            counts[c] = 0
        sums[c] = 0
        kept.partners[count] = c
        kept.dots[count] = dot
        kept.supports[count] = support
        count += (dot > 0.0) & ((dot * reaching[c] >= bar) | (dot * own >= bars[c]))
    return count


@kernel
def add_row(matrix: Any, core: Any, i: int, dense: bool, sums: Any, counts: Any, touched: Numbers) -> int:
    """Sums up all partners of i of a lower label; how many are noted in `touched`."""
    product = matrix.order[i]
    whole = counts.size == 0
    count = 0
    if i < core.size:
        core_row(core, i, sums)
        for at in range(core.other_ptr[i], core.other_ptr[i + 1]):
            start, stop = np.int64(core.other_begins[at]), np.int64(core.other_places[at])
            value = np.int64(matrix.values[stop])
            add_whole(matrix.labels[start:stop], matrix.values[start:stop], value, dense, sums, touched, 0)
        return 0
    for at in range(matrix.indptr[product], matrix.indptr[product + 1]):
        start, stop = matrix.user_ptr[matrix.users[at]], np.int64(matrix.own[at])
        partners, theirs = matrix.labels[start:stop], matrix.values[start:stop]
        value = matrix.values[stop]
        if whole:
            count = add_whole(partners, theirs, np.int64(value), dense, sums, touched, count)
        else:
            count = add_real(partners, theirs, value, sums, counts, touched, count)
    return count


@kernel
def similar_pairs(
    matrix: Any,
    core: Any,
    scoring: Scoring,
    reaches: tuple[Floats, Floats],
    binary: bool,
    sure: float,
    min_support: int,
    first: int,
    last: int,
    sums: Any,
    counts: Any,
    touched: Numbers,
    kept: Kept,
    bars: Floats,
    found: Ints,
    items: npt.NDArray[np.uint64],
    scores: Floats,
) -> None:
    """Scores each product against those of a lower label, and offers each pair to the heaps of both.

    The matrix is a `clockmill.compute.pairs.PairMatrix`; what `core` holds is not summed up again. With `binary` the
    dot product is the support; a dot product of `sure` needs no look at it. An item is number times 2**32 plus
    support, so that the reader of a heap has both; `whole_supports` adds what is in the core's bits. bars[i] is the sum
    below which nobody enters the heap of i.
    """
    k = items.shape[1]
    reaching, needing = reaches
    order = matrix.order
    for i in range(first, last):
        in_core = i < core.size
        # Where a quarter of the places may be touched, walking through all is cheaper than noting which.
        dense = counts.size == 0 and (in_core or matrix.wedges[i] > i // 4)
        count = add_row(matrix, core, i, dense, sums, counts, touched)
        if dense:
            count = i
        number = np.uint64(order[i]) << np.uint64(32)
        for low in range(0, count, STRETCH):
            high = min(low + STRETCH, count)
            some = promising(sums, counts, touched, dense, low, high, reaching, reaching[i], bars[i], bars, kept)
            for at in range(some):
                c, dot, support = np.int64(kept.partners[at]), kept.dots[at], kept.supports[at]
                mine = dot * reaching[c] >= bars[i]
                its = dot * reaching[i] >= bars[c]
                known = support
                if in_core and binary:
                    known = support = np.int64(dot)
                elif in_core:
                    known = support + core_support(core, i, c) if dot < sure else min_support
                if not (mine or its) or known < min_support:
                    continue
                value = score(scoring, dot, known, i, c)
                if mine and value > 0.0:
                    item = np.uint64(order[c]) << np.uint64(32) | np.uint64(support)
                    found[i] = offer(items[i], scores[i], found[i], item, value)
                    if found[i] == k:
                        bars[i] = scores[i, 0] * needing[i] * CAUTION
                if scoring.kind == PRODUCT:
                    value = score(scoring, dot, known, c, i)
                if its and value > 0.0:
                    found[c] = offer(items[c], scores[c], found[c], number | np.uint64(support), value)
                    if found[c] == k:
                        bars[c] = scores[c, 0] * needing[c] * CAUTION


@kernel
def whole_supports(core: Any, label: Ints, found: Ints, items: npt.NDArray[np.uint64]) -> None:
    """Adds to the supports of the core's pairs those users that the core holds; items are lists by label."""
    for i in range(core.size):
        for at in range(found[i]):
            c = np.int64(label[np.int64(items[i, at] >> np.uint64(32))])
            if c < core.size:
                items[i, at] += np.uint64(core_support(core, i, c))


@kernel
def similar_rows(
    matrix: Any,
    scoring: Scoring,
    reaches: tuple[Floats, Floats],
    min_support: int,
    rows: Ints,
    first: int,
    last: int,
    sums: Any,
    counts: Any,
    touched: Numbers,
    kept: Kept,
    found: Ints,
    items: npt.NDArray[np.uint64],
    scores: Floats,
) -> None:
    """The lists of the products of labels rows[first:last], as `similar_pairs` makes them, the best first."""
    k = items.shape[1]
    whole = counts.size == 0
    reaching, needing = reaches
    order = matrix.order
    never = np.full(order.size, np.inf)
    for row in range(first, last):
        i = rows[row]
        product = order[i]
        count = 0
        for at in range(matrix.indptr[product], matrix.indptr[product + 1]):
            user = matrix.users[at]
            start, stop = matrix.user_ptr[user], matrix.user_ptr[user + 1]
            partners, theirs = matrix.labels[start:stop], matrix.values[start:stop]
            value = matrix.values[np.int64(matrix.own[at])]
            if whole:
                count = add_whole(partners, theirs, np.int64(value), False, sums, touched, count)
            else:
                count = add_real(partners, theirs, value, sums, counts, touched, count)
        bar = 0.0
        for low in range(0, count, STRETCH):
            high = min(low + STRETCH, count)
            some = promising(sums, counts, touched, False, low, high, reaching, 0.0, bar, never, kept)
            for at in range(some):
                c, dot, support = np.int64(kept.partners[at]), kept.dots[at], kept.supports[at]
                if c == i or support < min_support or dot * reaching[c] < bar:
                    continue
                pair = score(scoring, dot, support, i, c)
                if pair > 0.0:
                    item = np.uint64(order[c]) << np.uint64(32) | np.uint64(support)
                    found[row] = offer(items[row], scores[row], found[row], item, pair)
                    if found[row] == k:
                        bar = scores[row, 0] * needing[i] * CAUTION
        best_first(items[row], scores[row], found[row])


@kernel
def scale_whole(values: Floats, step: float, whole: npt.NDArray[np.int16]) -> bool:
    """Writes values * step as whole numbers; False where one is not whole or does not fit.

    A decimal is not exact in binary: 0.3 * 10 is a little above 3.
    """
    for at in range(values.size):
        scaled = values[at] * step
        rounded = np.rint(scaled)
        if not (abs(scaled - rounded) <= 1e-12 * abs(scaled) and abs(rounded) <= 32767.0):
            return False
        whole[at] = np.int16(rounded)
    return True
