"""Rows are worked through in blocks of equal wedges (entry of a row, entry of its partner), on threads."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

#: Told the part of the work that is done, 0 to 1, after each block; an error it raises ends the computation.
Progress = Callable[[float], object]

Arrays = Mapping[str, npt.NDArray[Any]]
Facts = Mapping[str, Any]
#: Given arrays, what each of their rows costs, and facts: has ranges of the rows worked at, by whoever knows the
#: kernel, and gives what came of each, in their order.
Divide = Callable[[Arrays, npt.NDArray[np.int64], Facts], Sequence[Arrays]]

#: A block of this many wedges takes about 0.1 s: the wait for a cancellation, and the grain of the progress.
WEDGES_PER_BLOCK = 20_000_000
#: Blocks per thread at least, so that one slow block does not keep the others waiting.
BLOCKS_PER_THREAD = 4


def available_threads() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def equal_blocks(wedges: npt.NDArray[np.int64], threads: int | None = None) -> list[tuple[int, int]]:
    """Ranges [first, last) that cover all rows and hold about equal sums of `wedges` (one number a row)."""
    work = int(wedges.sum()) + len(wedges)
    return equal_ranges(wedges, max((threads or available_threads()) * BLOCKS_PER_THREAD, work // WEDGES_PER_BLOCK))


def equal_ranges(wedges: npt.NDArray[np.int64], count: int) -> list[tuple[int, int]]:
    """The same as `count` ranges, or fewer where there are not so many rows."""
    if len(wedges) == 0:
        return []
    # A row costs something even without wedges.
    done = np.cumsum(wedges + 1)
    goals = np.linspace(0, done[-1], count + 1)[1:-1]
    cuts = np.unique(np.concatenate([[0], np.searchsorted(done, goals), [len(wedges)]])).tolist()
    return list(pairwise(cuts))


def run_blocks(
    work: Callable[[int, int], T],
    blocks: list[tuple[int, int]],
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[T]:
    """The results of work(first, last) for all blocks, in their order.

    `progress` is called on the calling thread. If it or a block raises, blocks not yet begun are left out and the
    error is raised when the running ones have ended.
    """
    with ThreadPoolExecutor(threads or available_threads()) as pool:
        futures = [pool.submit(work, first, last) for first, last in blocks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(done / len(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
