"""The loops over friends: top k of each row of a sparse product, without the excluded, and the reasons.

Gustavson's row by row accumulation (ACM TOMS 4(3), 1978): all partners of a row are summed up in a dense accumulator,
then the k best are kept in a heap. A place in the accumulator is a *label*; labels are given by falling degree, so
that the places written most lie together in the cache. `order` turns a label into the number that ids are sorted by.

Every kernel takes rows [first, last) and writes at row - first.
Friends are summed in whole numbers: equal sums are equal in any order of adding, and ties are ties.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.heaps import CAUTION, best_first, offer, rise, sink
from clockmill.compute.native import kernel

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

#: How many common friends are named as the reason for a recommendation.
REASONS = 3


@kernel
def best_beside(
    indptr: Ints,
    labelled: Numbers,
    order: Numbers,
    weight: float,
    share: bool,
    hub: Any,
    items: Numbers,
    scores: Floats,
) -> int:
    """The best friends of `hub` in the eyes of one who has no other friend; how many they are."""
    size = 0
    for c in labelled[indptr[hub] : indptr[hub + 1]]:
        item = order[c]
        score = weight / (indptr[item + 1] - indptr[item]) if share else weight
        size = offer(items, scores, size, item, score)
    best_first(items, scores, size)
    return size


@kernel
def copy_others(items: Numbers, scores: Floats, size: int, but: Any, other_items: Numbers, other_scores: Floats) -> int:
    """Copies a list without one item, as far as there is room; how many were copied."""
    copied = 0
    for at in range(size):
        if items[at] != but and copied < other_items.size:
            other_items[copied] = items[at]
            other_scores[copied] = scores[at]
            copied += 1
    return copied


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
    hub = -1
    beside_hub = 0
    hub_items = np.empty(k + 1, np.uint32)
    hub_scores = np.empty(k + 1)
    for i in range(first, last):
        friends = indptr[i + 1] - indptr[i]
        if friends == n - 1:
            # A friend of everybody: in a complete graph that spares all the work.
            found[i - first] = 0
            continue
        if friends == 1:
            # All who know only the same one share a list, but for themselves: a star would cost its square.
            if hub != indices[indptr[i]]:
                hub = indices[indptr[i]]
                beside_hub = best_beside(
                    indptr, labelled, order, weights[hub] * unit, share, hub, hub_items, hub_scores
                )
            found[i - first] = copy_others(
                hub_items, hub_scores, beside_hub, order[label[i]], items[i - first], scores[i - first]
            )
            continue
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
                rise(row_items, row_scores, size, item, score)
                size += 1
            elif score > limit or item < row_items[0]:
                sink(row_items, row_scores, size, item, score)
            if size == k:
                limit = row_scores[0]
                # The union is no smaller than one side: most candidates need no look at the other.
                bar = max(np.int64(limit * (degree if share else 1) / unit * CAUTION), np.int64(1))
        best_first(row_items, row_scores, size)
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
