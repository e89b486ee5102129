"""The loops: top k of each row of a sparse product, without the excluded, and the reasons.

Gustavson's row by row accumulation (ACM TOMS 4(3), 1978): all partners of a row are summed up in a dense accumulator,
then the k best are kept in a heap. A place in the accumulator is a *label*; labels are given by falling degree, so
that the places written most lie together in the cache. `order` turns a label into the number that ids are sorted by.

Better is a higher score, then a lower number. Every kernel takes rows [first, last) and writes at row - first.
Friends are summed in whole numbers: equal sums are equal in any order of adding, and ties are ties.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.native import kernel

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

#: How many common friends are named as the reason for a recommendation.
REASONS = 3

#: Of a packed sum the lower 40 bits are the dot product of whole numbers, the upper ones the support.
SHIFT = 40
ONE = 1 << SHIFT
HALF = 1 << (SHIFT - 1)

#: A bound computed by other roundings than the score must not keep out a tie.
CAUTION = 1.0 - 1e-12


@kernel
def _sink(items: Any, scores: Floats, size: int, item: int, score: float) -> None:
    """Puts a pair in the place of the heap's worst one, which stands first, and restores the order."""
    at = 0
    child = 1
    while child < size:
        right = child + 1
        if right < size and (
            scores[right] < scores[child] or (scores[right] == scores[child] and items[right] > items[child])
        ):
            child = right
        if scores[child] > score or (scores[child] == score and items[child] < item):
            break
        items[at] = items[child]
        scores[at] = scores[child]
        at = child
        child = 2 * at + 1
    items[at] = item
    scores[at] = score


@kernel
def _rise(items: Any, scores: Floats, size: int, item: int, score: float) -> None:
    """Adds a pair to a heap of `size` that has room."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if scores[parent] < score or (scores[parent] == score and items[parent] > item):
            break
        items[at] = items[parent]
        scores[at] = scores[parent]
        at = parent
    items[at] = item
    scores[at] = score


@kernel
def _best_first(items: Any, scores: Floats, size: int) -> None:
    """Turns a heap into a list, the best pair first."""
    for end in range(size - 1, 0, -1):
        item, score = items[end], scores[end]
        items[end], scores[end] = items[0], scores[0]
        _sink(items, scores, end, item, score)


@kernel
def friends_of_friends(
    indptr: Ints,
    indices: Numbers,
    labelled: Numbers,
    label: Numbers,
    order: Numbers,
    weights: Ints,
    unit: float,
    share: bool,
    first: int,
    last: int,
    found: Ints,
    items: Numbers,
    scores: Floats,
) -> None:
    """Scores each user's friends of friends by the sum of the weights of their common friends; keeps the best.

    `labelled` is `indices` as labels. Weights are positive numbers of `unit`s. With `share` the sum is divided by the
    number of friends that either has: with weights of 1, Jaccard. Neither the user nor a friend is a candidate.
    """
    n = indptr.size - 1
    k = items.shape[1]
    sums = np.zeros(n, np.int64)
    touched = np.empty(n + 1, np.uint32)
    for i in range(first, last):
        # Unsigned, since a place that cannot be negative needs no check in the inner loop.
        count = np.uint64(0)
        for j in indices[indptr[i] : indptr[i + 1]]:
            weight = weights[j]
            for c in labelled[indptr[j] : indptr[j + 1]]:
                before = sums[c]
                # Without a branch: a new candidate is kept by moving on, an old one is overwritten.
                touched[count] = c
                count += np.uint64(before == 0)
                sums[c] = before + weight
        sums[label[i]] = 0
        for c in labelled[indptr[i] : indptr[i + 1]]:
            sums[c] = 0
        size = 0
        row_items = items[i - first]
        row_scores = scores[i - first]
        degree = indptr[i + 1] - indptr[i]
        limit = 0.0
        bar = np.int64(1)
        for c in touched[: np.int64(count)]:
            total = sums[c]
            sums[c] = 0
            if total < bar:
                continue
            score = total * unit
            if share:
                number = order[c]
                score /= degree + (indptr[number + 1] - indptr[number]) - score
            if score < limit:
                continue
            item = order[c]
            if size < k:
                _rise(row_items, row_scores, size, item, score)
                size += 1
            elif score > limit or item < row_items[0]:
                _sink(row_items, row_scores, size, item, score)
            if size == k:
                limit = row_scores[0]
                # The union is no smaller than one side: most candidates need no look at the other.
                bar = max(np.int64(limit * (degree if share else 1) / unit * CAUTION), np.int64(1))
        _best_first(row_items, row_scores, size)
        found[i - first] = size


@kernel
def common_friends(
    indptr: Ints,
    indices: Numbers,
    first: int,
    last: int,
    ends: Ints,
    items: Numbers,
    counts: Ints,
    named: Numbers,
) -> None:
    """For each pair (user, candidate): how many common friends, and the first few.

    The candidates of user i are items[ends[i - first]:ends[i - first + 1]].
    """
    is_friend = np.zeros(indptr.size - 1, np.uint8)
    for i in range(first, last):
        if ends[i - first] == ends[i - first + 1]:
            continue
        for j in indices[indptr[i] : indptr[i + 1]]:
            is_friend[j] = 1
        for at in range(ends[i - first], ends[i - first + 1]):
            c = items[at]
            count = 0
            for j in indices[indptr[c] : indptr[c + 1]]:
                if is_friend[j]:
                    if count < REASONS:
                        named[at, count] = j
                    count += 1
            counts[at] = count
        for j in indices[indptr[i] : indptr[i + 1]]:
            is_friend[j] = 0


@kernel
def write_lists(
    words: Bytes, word_ends: Ints, counts: Ints, named: Numbers, text: Bytes, text_ends: Ints, measure: bool
) -> None:
    """One text `[word,word]` a row, of the words named[row, :counts[row]], into `text` up to text_ends[row].

    With `measure` nothing is written but text_ends: a first pass that says how long `text` must be.
    """
    end = 0
    for row in range(counts.size):
        size = min(counts[row], named.shape[1])
        if not measure:
            text[end] = ord("[")
        end += 1
        for at in range(size):
            word = named[row, at]
            if at > 0:
                if not measure:
                    text[end] = ord(",")
                end += 1
            for letter in range(word_ends[word], word_ends[word + 1]):
                if not measure:
                    text[end] = words[letter]
                end += 1
        if not measure:
            text[end] = ord("]")
        end += 1
        text_ends[row] = end


@kernel
def similar_rows(
    row_ptr: Ints,
    row_users: Numbers,
    row_values: Floats,
    user_ptr: Ints,
    user_labels: Numbers,
    user_values: Floats,
    squares: Floats,
    label: Numbers,
    order: Numbers,
    min_support: int,
    first: int,
    last: int,
    found: Ints,
    items: Numbers,
    scores: Floats,
    supports: Ints,
) -> None:
    """Scores each product's partners by the cosine over their users; keeps the best positive ones.

    Products by users in row_*, users by (labelled) products in user_*; `squares` has the sum of the squares of each
    product. A partner needs `min_support` common users.
    """
    n = row_ptr.size - 1
    k = items.shape[1]
    # Sum and support side by side: one place in the cache, one addition of two numbers.
    sums = np.zeros((n, 2))
    inverse = 1.0 / np.sqrt(squares[order])
    touched = np.empty(n + 1, np.uint32)
    for i in range(first, last):
        count = 0
        for at in range(row_ptr[i], row_ptr[i + 1]):
            user = row_users[at]
            value = row_values[at]
            for entry in range(user_ptr[user], user_ptr[user + 1]):
                c = user_labels[entry]
                touched[count] = c
                count += sums[c, 1] == 0.0
                sums[c, 0] += value * user_values[entry]
                sums[c, 1] += 1.0
        sums[label[i], 1] = 0.0
        size = 0
        row_items = items[i - first]
        row_scores = scores[i - first]
        limit = 0.0
        floor = 0.0
        for at in range(count):
            c = touched[at]
            score = sums[c, 0]
            support = sums[c, 1]
            if support < min_support or support == 0.0:
                continue
            if score * inverse[c] < floor or score <= 0.0:
                continue
            score /= np.sqrt(squares[i] * squares[order[c]])
            if score < limit:
                continue
            item = order[c]
            if size < k:
                _rise(row_items, row_scores, size, item, score)
                size += 1
            elif score > limit or item < row_items[0]:
                _sink(row_items, row_scores, size, item, score)
            if size == k:
                limit = row_scores[0]
                floor = limit * np.sqrt(squares[i]) * CAUTION
        _best_first(row_items, row_scores, size)
        found[i - first] = size
        for at in range(size):
            supports[i - first, at] = sums[label[row_items[at]], 1]
        for at in range(count):
            sums[touched[at], 0] = 0.0
            sums[touched[at], 1] = 0.0


@kernel
def _offer(items: Any, scores: Floats, size: int, item: Any, score: float) -> int:
    """Adds a pair to a heap if it has room or a worse one; the heap's new size."""
    if size < items.size:
        _rise(items, scores, size, item, score)
        return size + 1
    if score > scores[0] or (score == scores[0] and item < items[0]):
        _sink(items, scores, size, item, score)
    return size


@kernel
def sort_by_user(
    indptr: Ints,
    users: Numbers,
    product_values: npt.NDArray[np.int16],
    user_ptr: Ints,
    cursors: Ints,
    own: Ints,
    starts: Ints,
    labels: Numbers,
    values: npt.NDArray[np.int16],
    order: Numbers,
    squares: Floats,
) -> None:
    """Fills a PairMatrix in one pass over the products by label, which leaves each user's labels ascending.

    `cursors` are the places of each user's next entry, at first user_ptr[:-1].
    """
    at = 0
    for label in range(order.size):
        product = order[label]
        total = np.int64(0)
        for entry in range(indptr[product], indptr[product + 1]):
            user = users[entry]
            place = cursors[user]
            cursors[user] = place + 1
            value = np.int64(product_values[entry])
            labels[place] = label
            values[place] = value
            own[at] = place
            starts[at] = user_ptr[user]
            total += value * value
            at += 1
        squares[label] = total


@kernel
def similar_pairs(
    indptr: Ints,
    own: Ints,
    starts: Ints,
    labels: Numbers,
    values: npt.NDArray[np.int16],
    order: Numbers,
    squares: Floats,
    degrees: Ints,
    norms: Floats,
    inverse: Floats,
    share: bool,
    min_support: int,
    first: int,
    last: int,
    sums: Ints,
    touched: Numbers,
    bars: Floats,
    found: Ints,
    items: npt.NDArray[np.uint64],
    scores: Floats,
) -> None:
    """Scores each product against those of a lower label, and offers each pair to the heaps of both.

    The matrix is described at `clockmill.compute.pairs.PairMatrix`. An accumulator holds the support times 2**SHIFT
    plus the dot product: one addition a wedge. An item is number times 2**32 plus support, so that the reader of a
    heap has both. bars[i] is the sum below which nobody enters the heap of i.
    """
    k = items.shape[1]
    for i in range(first, last):
        wedges = np.int64(0)
        for at in range(indptr[i], indptr[i + 1]):
            wedges += own[at] - starts[at]
        # Where a quarter of the places may be touched, walking through all is cheaper than noting which.
        dense = wedges > i // 4
        count = i if dense else 0
        for at in range(indptr[i], indptr[i + 1]):
            # Slices, since their places are known not to be negative: the inner loop is twice as fast.
            partners = labels[starts[at] : own[at]]
            theirs = values[starts[at] : own[at]]
            value = np.int64(values[own[at]])
            if dense:
                for entry in range(partners.size):
                    sums[partners[entry]] += value * theirs[entry] + ONE
                continue
            for entry in range(partners.size):
                c = partners[entry]
                before = sums[c]
                touched[count] = c
                count += before == 0
                sums[c] = before + value * theirs[entry] + ONE
        number = np.uint64(order[i]) << np.uint64(32)
        for at in range(count):
            c = np.int64(at) if dense else np.int64(touched[at])
            packed = sums[c]
            if packed == 0:
                continue
            sums[c] = 0
            support = (packed + HALF) >> SHIFT
            dot = np.float64(packed - (support << SHIFT))
            mine = dot * inverse[c] >= bars[i]
            its = dot * inverse[i] >= bars[c]
            if not (mine or its) or support < min_support or dot <= 0.0:
                continue
            whole = degrees[i] + degrees[c] - dot if share else np.sqrt(squares[i] * squares[c])
            score = dot / whole
            if mine:
                item = np.uint64(order[c]) << np.uint64(32) | np.uint64(support)
                found[i] = _offer(items[i], scores[i], found[i], item, score)
                if found[i] == k:
                    bars[i] = scores[i, 0] * norms[i] * CAUTION
            if its:
                item = number | np.uint64(support)
                found[c] = _offer(items[c], scores[c], found[c], item, score)
                if found[c] == k:
                    bars[c] = scores[c, 0] * norms[c] * CAUTION


@kernel
def merge_heaps(
    found: Ints,
    items: npt.NDArray[np.uint64],
    scores: Floats,
    other_found: Ints,
    other_items: npt.NDArray[np.uint64],
    other_scores: Floats,
) -> None:
    """Offers everything in the other heaps to the first."""
    for i in range(found.size):
        for at in range(other_found[i]):
            found[i] = _offer(items[i], scores[i], found[i], other_items[i, at], other_scores[i, at])


@kernel
def sort_heaps(found: Ints, items: npt.NDArray[np.uint64], scores: Floats) -> None:
    """Turns every heap into a list, the best first."""
    for i in range(found.size):
        _best_first(items[i], scores[i], found[i])
