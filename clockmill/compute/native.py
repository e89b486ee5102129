"""Compiled kernels: how they are compiled, where they are kept, and compiling them all ahead of work."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compiles `function` at its first call, without the interpreter lock, and keeps the machine code on disk.

    Where no folder can be written the kernel is compiled again in every process.
    """
    try:
        return cast(Callable[P, R], numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(Callable[P, R], numba.njit(nogil=True)(function))


def compile_kernels(cache_dir: Path | None = None) -> None:
    """Compiles every kernel, or loads it from disk, so that what follows measures computing alone.

    The machine code lies beside the package; where that folder is not writable, in `cache_dir`. NUMBA_CACHE_DIR
    overrides both. To have an effect, `cache_dir` must be given before the first kernel of the process is used.
    """
    config: Any = numba.config
    if cache_dir is not None and not config.CACHE_DIR and not os.access(Path(__file__).parent, os.W_OK):
        config.CACHE_DIR = str(cache_dir)
    # Importing the kernels fixes where they are cached, hence only now.
    from clockmill.compute import friendship_graph, ratings_matrix, recommend, similar_products

    recommend(friendship_graph([1, 2], [2, 3]))
    for value in (1.0, 1 / 3):
        similar_products(ratings_matrix([1, 1, 2, 2], [1, 2, 1, 2], [value] * 4), threads=2)
