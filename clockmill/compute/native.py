"""Compiled kernels: how they are compiled, where they are kept, and compiling them all ahead of work."""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = Path(__file__).parent
_PREFIX = "kernels-"
#: Where machine code is kept when the package's own folder cannot be written.
_elsewhere: Path | None = None


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compiles `function` at its first call, without the interpreter lock, and keeps the machine code on disk.

    Where no folder can be written the kernel is compiled again in every process.
    """
    config: Any = numba.config
    asked = config.CACHE_DIR
    config.CACHE_DIR = str(machine_code())
    try:
        return cast(Callable[P, R], numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(Callable[P, R], numba.njit(nogil=True)(function))
    finally:
        config.CACHE_DIR = asked


def machine_code() -> Path:
    """The folder of the machine code of these sources: NUMBA_CACHE_DIR, else beside the package, else elsewhere."""
    config: Any = numba.config
    if config.CACHE_DIR:
        home = Path(config.CACHE_DIR)
    elif os.access(_PACKAGE, os.W_OK) or _elsewhere is None:
        home = _PACKAGE / "__pycache__"
    else:
        home = _elsewhere
    return home / f"{_PREFIX}{_sources()}"


@cache
def _sources() -> str:
    """A digest of all kernels. Numba looks only at a kernel's own file, and would keep what it called elsewhere."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.glob("*.py")):
        text = path.read_bytes()
        digest.update(text if b"\n@kernel\n" in text else b"")
    return digest.hexdigest()[:12]


def compile_kernels(
    cache_dir: Path | None = None,
    tell: Callable[[str], object] | None = None,
    of: Collection[str] = ("people", "products"),
) -> None:
    """Compiles the kernels of people and of products, or loads them from disk: what follows measures computing alone.

    The machine code lies beside the package; where that folder is not writable, in `cache_dir`. NUMBA_CACHE_DIR
    overrides both. To have an effect, `cache_dir` must be given before the first kernel of the process is used.
    `tell` is told before kernels are compiled that were not found on disk.
    """
    global _elsewhere
    _elsewhere = cache_dir or _elsewhere
    # Importing the kernels fixes where they are kept, hence only now.
    from clockmill.compute import (
        friendship_graph,
        or_popular_people,
        or_popular_products,
        ratings_matrix,
        recommend,
        similar_products,
    )
    from clockmill.compute.people_changes import who_is_reached
    from clockmill.compute.product_changes import what_is_reached

    if _first_time(of):
        _forget_others()
        if tell is not None:
            tell("compiling the kernels, once for this machine and version; this takes some seconds")
    if "people" in of:
        graph = friendship_graph([1, 2], [2, 3])
        or_popular_people(graph, recommend(graph), 1, None)
        who_is_reached(graph)
    for value in (1.0, 1 / 3) if "products" in of else ():
        ratings = ratings_matrix([1, 1, 2, 2], [1, 2, 1, 2], [value] * 4)
        similar_products(ratings, only=[0], threads=1)
        or_popular_products(ratings, similar_products(ratings, threads=2), 1, None)
        what_is_reached(ratings)


def _forget_others() -> None:
    """Removes the machine code of other sources; a process that uses it has read it."""
    own = machine_code()
    for other in own.parent.glob(f"{_PREFIX}*"):
        if other != own:
            shutil.rmtree(other, ignore_errors=True)


def _first_time(of: Collection[str]) -> bool:
    """Whether a small kernel of these must be compiled: the others were kept with it, or were not."""
    from clockmill.compute import friendship_graph
    from clockmill.compute.graph_kernels import both_directions
    from clockmill.compute.scoring import entropy

    people = "people" in of and _compiles(both_directions, lambda: friendship_graph([1], [2]))
    return ("products" in of and _compiles(entropy, lambda: entropy(1.0))) or people


def _compiles(kernel: Any, use: Callable[[], object]) -> bool:
    known = bool(kernel.signatures)
    use()
    return not known and not kernel.stats.cache_hits
