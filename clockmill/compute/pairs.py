"""All pairs of products, each once: half the work of row by row, for feedback in whole numbers."""

from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute import kernels
from clockmill.compute.blocks import Progress, available_threads, equal_blocks, run_blocks
from clockmill.compute.ids import Codes
from clockmill.compute.labels import by_falling_degree
from clockmill.compute.ratings import Ratings

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.int16]

#: Values are tried times these: whole and half stars, quarters, decimals, hundredths.
STEPS = (1, 2, 4, 10, 100)


class Lists(NamedTuple):
    """The lists of all products, one after another: `found` partners a product."""

    found: Ints
    partners: Codes
    scores: Floats
    supports: Ints


class PairMatrix(NamedTuple):
    """The ratings as the kernel takes them; products are labels throughout.

    Entry e is (labels[e], values[e]), user by user, labels ascending. The entries of product i are
    own[indptr[i]:indptr[i + 1]]; those of the same users with lower labels begin at `starts`.
    """

    indptr: Ints
    own: Ints
    starts: Ints
    labels: Codes
    values: Values
    order: Codes
    squares: Floats


class _Heaps(NamedTuple):
    """What one thread holds: its accumulator, and the best partners so far of every product."""

    sums: Ints
    touched: Codes
    bars: Floats
    found: Ints
    items: npt.NDArray[np.uint64]
    scores: Floats


def whole_values(ratings: Ratings) -> Values | None:
    """The values times a step as whole numbers, if all are and all sums fit the kernel; else None."""
    for step in STEPS:
        scaled = ratings.values * step
        whole = np.rint(scaled)
        # A decimal is not exact in binary: 0.3 * 10 is a little above 3.
        if np.all(np.abs(scaled - whole) <= 1e-12 * np.abs(scaled)):
            return whole.astype(np.int16) if _fits(ratings, whole) else None
    return None


def _fits(ratings: Ratings, whole: Floats) -> bool:
    counts = np.diff(ratings.indptr)
    largest = float(np.max(np.abs(whole), initial=0))
    # The dot product of two columns is at most the larger sum of squares.
    return (
        largest <= np.iinfo(np.int16).max
        and largest**2 * int(counts.max(initial=0)) < kernels.HALF
        and int(counts.max(initial=0)) < 2 ** (62 - kernels.SHIFT)
    )


def pair_matrix(ratings: Ratings, values: Values) -> PairMatrix:
    """The matrix of `values`, one for each entry of the ratings."""
    counts = np.diff(ratings.indptr)
    order = by_falling_degree(counts).order
    indptr = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts[order], out=indptr[1:])
    user_ptr = np.zeros(len(ratings.user_ids) + 1, np.int64)
    np.cumsum(np.bincount(ratings.users, minlength=len(ratings.user_ids)), out=user_ptr[1:])
    entries = len(values)
    matrix = PairMatrix(
        indptr,
        np.empty(entries, np.int64),
        np.empty(entries, np.int64),
        np.empty(entries, np.uint32),
        np.empty(entries, np.int16),
        order,
        np.zeros(len(counts)),
    )
    kernels.sort_by_user(ratings.indptr, ratings.users, values, user_ptr, user_ptr[:-1].copy(), *matrix[1:])
    return matrix


def best_pairs(
    matrix: PairMatrix, share: bool, k: int, min_support: int, threads: int | None, progress: Progress | None
) -> Lists:
    """The `k` best partners of each product, in the order of the products."""
    n = len(matrix.squares)
    degrees = np.diff(matrix.indptr)
    norms = degrees.astype(np.float64) if share else np.sqrt(matrix.squares)
    inverse = np.divide(1.0, norms, out=np.zeros(n), where=norms > 0) if not share else np.ones(n)
    states: SimpleQueue[_Heaps] = SimpleQueue()
    all_states = [_heaps(n, k) for _ in range(threads or available_threads())]
    for state in all_states:
        states.put(state)

    def work(first: int, last: int) -> None:
        heaps = states.get()
        try:
            kernels.similar_pairs(*matrix, degrees, norms, inverse, share, min_support, first, last, *heaps)
        finally:
            states.put(heaps)

    run_blocks(work, equal_blocks(_wedges(matrix), threads), threads, progress)
    return _merged(all_states, matrix.order)


def _heaps(n: int, k: int) -> _Heaps:
    return _Heaps(
        np.zeros(n, np.int64),
        np.empty(n + 1, np.uint32),
        np.zeros(n),
        np.zeros(n, np.int64),
        np.empty((n, k), np.uint64),
        np.empty((n, k)),
    )


def _wedges(matrix: PairMatrix) -> Ints:
    """For each label the number of paths product - user - product of a lower label."""
    done = np.zeros(len(matrix.own) + 1, np.int64)
    np.cumsum(matrix.own - matrix.starts, out=done[1:])
    return np.diff(done[matrix.indptr])


def _merged(states: list[_Heaps], order: Codes) -> Lists:
    best = states[0]
    for other in states[1:]:
        kernels.merge_heaps(best.found, best.items, best.scores, other.found, other.items, other.scores)
    kernels.sort_heaps(best.found, best.items, best.scores)
    label = np.argsort(order)
    found = best.found[label]
    filled = np.arange(best.items.shape[1]) < found[:, None]
    items = best.items[label][filled]
    supports = (items & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return Lists(found, (items >> np.uint64(32)).astype(np.uint32), best.scores[label][filled], supports)
