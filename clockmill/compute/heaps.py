"""The best k of many pairs (item, score), kept in a heap: the worst of them stands first.

Better is a higher score, then a lower item.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.native import kernel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: A bound computed by other roundings than the score must not keep out a tie.
CAUTION = 1.0 - 1e-12


@kernel
def sink(items: Any, scores: Floats, size: int, item: Any, score: float) -> None:
    """Puts a pair in the place of the heap's worst one and restores the order."""
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
def rise(items: Any, scores: Floats, size: int, item: Any, score: float) -> None:
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
def best_first(items: Any, scores: Floats, size: int) -> None:
    """Turns a heap into a list, the best pair first."""
    for end in range(size - 1, 0, -1):
        item, score = items[end], scores[end]
        items[end], scores[end] = items[0], scores[0]
        sink(items, scores, end, item, score)


@kernel
def offer(items: Any, scores: Floats, size: int, item: Any, score: float) -> int:
    """Adds a pair to a heap if it has room or a worse one; the heap's new size."""
    if size < items.size:
        rise(items, scores, size, item, score)
        return size + 1
    if score > scores[0] or (score == scores[0] and item < items[0]):
        sink(items, scores, size, item, score)
    return size


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
            found[i] = offer(items[i], scores[i], found[i], other_items[i, at], other_scores[i, at])


@kernel
def sort_heaps(found: Ints, items: npt.NDArray[np.uint64], scores: Floats) -> None:
    """Turns every heap into a list, the best first."""
    for i in range(found.size):
        best_first(items[i], scores[i], found[i])
