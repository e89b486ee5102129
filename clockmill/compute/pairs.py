"""The best partners of products: of all, each pair once, or of some, row by row. Both ways give the same bits."""

from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute import heaps, pair_kernels
from clockmill.compute.blocks import Arrays, Divide, Facts, Progress, available_threads, equal_blocks, run_blocks
from clockmill.compute.dense_core import costs_by_row, dense_core, no_core
from clockmill.compute.ids import Codes
from clockmill.compute.labels import by_falling_degree
from clockmill.compute.ratings import Ratings
from clockmill.compute.scoring import Scoring, reach

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.int16] | Floats

#: Values are tried times these: whole and half stars, quarters, decimals, hundredths.
STEPS = (1, 2, 4, 10, 100)
#: Ratings that are sorted by user at a time: 2 MB.
SORTED = 200_000


class Lists(NamedTuple):
    """Lists of products, one after another: `found` partners a product."""

    found: Ints
    partners: Codes
    scores: Floats
    supports: Ints


class PairMatrix(NamedTuple):
    """The ratings as the kernels take them, by product (as in `Ratings`) and by user, products as labels.

    Entry e of the latter is (labels[e], values[e]); those of user u are user_ptr[u] to user_ptr[u + 1], labels
    ascending. own[at] is the place there of the entry at place `at` of the former. `order` turns a label into a
    number; `wedges` counts, by label, the paths product - user - product of a lower label.
    """

    indptr: Ints
    users: Codes
    user_ptr: Ints
    own: Codes
    labels: Codes
    values: Values
    order: Codes
    wedges: Ints


class _Heaps(NamedTuple):
    """What one thread holds: its accumulator, and the best partners so far of every product."""

    sums: Any
    counts: Any
    touched: Codes
    kept: pair_kernels.Kept
    bars: Floats
    found: Ints
    items: npt.NDArray[np.uint64]
    scores: Floats


def whole_values(values: Floats, most: int) -> npt.NDArray[np.int16] | None:
    """The values times a step as whole numbers, if all are and sums of `most` of them fit the kernel; else None."""
    whole = np.empty(len(values), np.int16)
    for step in STEPS:
        if pair_kernels.scale_whole(values, float(step), whole):
            return whole if _fits(whole, most) else None
    return None


def _fits(whole: npt.NDArray[np.int16], most: int) -> bool:
    largest = max(int(whole.max(initial=0)), -int(whole.min(initial=0)))
    # The dot product of two columns is at most the larger sum of squares.
    return largest**2 * most < pair_kernels.HALF and most < 2 ** (62 - pair_kernels.SHIFT)


def pair_matrix(ratings: Ratings, values: Values) -> tuple[PairMatrix, Floats]:
    """The matrix of `values`, one for each entry of the ratings, and each label's sum of squares."""
    entries = len(values)
    if entries > np.iinfo(np.uint32).max:
        raise ValueError(f"ratings: {entries:,} values are more than the {np.iinfo(np.uint32).max:,} that fit")
    n = len(ratings.product_ids)
    user_ptr = np.zeros(len(ratings.user_ids) + 1, np.int64)
    np.cumsum(np.bincount(ratings.users, minlength=len(ratings.user_ids)), out=user_ptr[1:])
    matrix = PairMatrix(
        ratings.indptr,
        ratings.users,
        user_ptr,
        np.empty(entries, np.uint32),
        np.empty(entries, np.uint32),
        np.empty(entries, values.dtype),
        by_falling_degree(np.diff(ratings.indptr)).order,
        np.zeros(n, np.int64),
    )
    squares = np.zeros(n)
    starts, cursors = ratings.indptr[matrix.order], user_ptr[:-1].copy()
    # Some users at a time, whose entries stay in the cache while all products are passed.
    for last in np.searchsorted(user_ptr, np.arange(SORTED, entries + SORTED, SORTED)).tolist():
        pair_kernels.sort_by_user(matrix, values, starts, cursors, last, squares)
    return matrix, squares


def best_pairs(
    matrix: PairMatrix,
    scoring: Scoring,
    k: int,
    min_support: int,
    threads: int | None,
    progress: Progress | None,
    divide: Divide | None = None,
) -> Lists:
    """The `k` best partners of each product, in the order of the products."""
    # Products of too few users come last, and can be nobody's partner: their wedges are not even added up.
    enough = int(np.count_nonzero(np.diff(matrix.indptr) >= min_support))
    if divide is None:
        best = _pairs_of_rows(matrix, scoring, k, min_support, (0, enough), threads or available_threads(), progress)
    else:
        costs = costs_by_row(matrix, *_span(matrix))[:enough] + 2 * np.arange(enough)
        parts = divide(*_for_ranges(matrix, scoring, k, min_support, costs))
        best = _joined([_heaps(len(matrix.order), k, True), *(_unpacked(part, k) for part in parts)])
    heaps.sort_heaps(best.found, best.items, best.scores)
    label = np.argsort(matrix.order)
    return _lists(best.found[label], best.items[label], best.scores[label])


def _for_ranges(
    matrix: PairMatrix, scoring: Scoring, k: int, min_support: int, costs: Ints
) -> tuple[Arrays, Ints, Facts]:
    """What `similar_range` needs, and what each row costs."""
    facts: dict[str, Any] = {"k": k, "min_support": min_support}
    facts |= {"kind": scoring.kind, "users": float(scoring.users), "shrink": float(scoring.shrink)}
    return {**matrix._asdict(), "seed": scoring.seed, "target": scoring.target}, costs, facts


def similar_range(
    arrays: Arrays, facts: Facts, first: int, last: int, progress: Progress | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The best pairs of the products of labels first to last - 1 with those of lower labels, on one thread: for each
    product what it has among these; one element of what `divide` gives back."""
    matrix = PairMatrix(**{name: arrays[name] for name in PairMatrix._fields})
    # The core takes its part out of them.
    matrix = matrix._replace(wedges=matrix.wedges.copy())
    scoring = Scoring(facts["kind"], arrays["seed"], arrays["target"], facts["users"], facts["shrink"])
    best = _pairs_of_rows(matrix, scoring, facts["k"], facts["min_support"], (first, last), 1, progress)
    filled = np.arange(facts["k"]) < best.found[:, None]
    return {"found": best.found, "items": best.items[filled], "scores": best.scores[filled]}


def _unpacked(part: Arrays, k: int) -> _Heaps:
    """The heaps that a range came to."""
    best = _heaps(len(part["found"]), k, True)
    filled = np.arange(k) < part["found"][:, None]
    best.found[:], best.items[filled], best.scores[filled] = part["found"], part["items"], part["scores"]
    return best


def _span(matrix: PairMatrix) -> tuple[int, int]:
    """The lowest and the highest value of a matrix of whole numbers, at least 1; (0, 0) of another one."""
    whole = matrix.values.dtype == np.int16
    return (int(matrix.values.min(initial=1)), int(matrix.values.max(initial=1))) if whole else (0, 0)


def _pairs_of_rows(
    matrix: PairMatrix,
    scoring: Scoring,
    k: int,
    min_support: int,
    rows: tuple[int, int],
    threads: int,
    progress: Progress | None,
) -> _Heaps:
    """The best partners of each product, by label, among the pairs of these rows with lower ones."""
    whole = matrix.values.dtype == np.int16
    lowest, highest = _span(matrix)
    binary = lowest == highest == 1
    core = dense_core(matrix, lowest, highest, threads, _part(progress, 0, 0.3), rows) if whole else no_core()
    # So large a sum has the support, unless the score depends on how much more there is.
    sure = np.inf if scoring.shrink else (min_support - 1) * max(highest, -lowest) ** 2 + 1.0
    states = [_heaps(len(matrix.order), k, whole) for _ in range(threads)]
    reaches = reach(scoring)
    free: SimpleQueue[_Heaps] = SimpleQueue()
    for state in states:
        free.put(state)

    def work(first: int, last: int) -> None:
        heap = free.get()
        try:
            pair_kernels.similar_pairs(matrix, core, scoring, reaches, binary, sure, min_support, first, last, *heap)
        finally:
            free.put(heap)

    # Looking at a sum costs about as much as two wedges, whether it holds something or not.
    begin, end = rows
    blocks = equal_blocks(matrix.wedges[begin:end] + 2 * np.arange(begin, end), threads)
    shifted = [(begin + first, begin + last) for first, last in blocks]
    run_blocks(work, shifted, threads, _part(progress, 0.3 if core.size else 0, 1))
    best = _joined(states)
    if not binary:
        pair_kernels.whole_supports(core, np.argsort(matrix.order), best.found, best.items)
    return best


def best_of(
    matrix: PairMatrix,
    scoring: Scoring,
    products: Ints,
    k: int,
    min_support: int,
    threads: int | None,
    progress: Progress | None,
) -> Lists:
    """The `k` best partners of these products (by number), as `best_pairs` finds them for all."""
    n = len(matrix.order)
    rows = np.argsort(matrix.order)[products]
    found = np.zeros(len(rows), np.int64)
    items, scores = np.empty((len(rows), k), np.uint64), np.empty((len(rows), k))
    whole = matrix.values.dtype == np.int16
    reaches = reach(scoring)

    def work(first: int, last: int) -> None:
        held = accumulator(n, whole)
        pair_kernels.similar_rows(matrix, scoring, reaches, min_support, rows, first, last, *held, found, items, scores)

    run_blocks(work, equal_blocks(row_wedges(matrix)[rows], threads), threads, progress)
    return _lists(found, items, scores)


def _part(progress: Progress | None, low: float, high: float) -> Progress | None:
    """Told 0 to 1, tells `progress` low to high."""
    if progress is None:
        return None
    return lambda share: progress(low + (high - low) * share)


def accumulator(n: int, whole: bool) -> tuple[Any, Any, Codes, pair_kernels.Kept]:
    sums, counts = (np.zeros(n, np.int64), 0) if whole else (np.zeros(n), n)
    places = pair_kernels.STRETCH + 1
    kept = pair_kernels.Kept(np.empty(places, np.int64), np.empty(places), np.empty(places, np.int64))
    return sums, np.zeros(counts, np.int32), np.empty(n + 1, np.uint32), kept


def _heaps(n: int, k: int, whole: bool) -> _Heaps:
    bars, found = np.zeros(n), np.zeros(n, np.int64)
    return _Heaps(*accumulator(n, whole), bars, found, np.empty((n, k), np.uint64), np.empty((n, k)))


def row_wedges(matrix: PairMatrix) -> Ints:
    """By label, the number of all paths product - user - product."""
    done = np.zeros(len(matrix.users) + 1, np.int64)
    np.cumsum(np.diff(matrix.user_ptr)[matrix.users], out=done[1:])
    return np.diff(done[matrix.indptr])[matrix.order]


def _joined(states: list[_Heaps]) -> _Heaps:
    best = states[0]
    for other in states[1:]:
        heaps.merge_heaps(best.found, best.items, best.scores, other.found, other.items, other.scores)
    return best


def _lists(found: Ints, items: npt.NDArray[np.uint64], scores: Floats) -> Lists:
    filled = np.arange(items.shape[1]) < found[:, None]
    kept = items[filled]
    supports = (kept & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return Lists(found, (kept >> np.uint64(32)).astype(np.uint32), scores[filled], supports)
