"""Named arrays in one file, which are mapped into memory when they are wanted again.

    CMSNAP 2\\n                          the form's version
    <bytes of the header>\\n <header>    JSON: identity, state, facts, and of each array dtype, shape, place, checksum
    arrays, each at a multiple of 64 bytes

Everything here is derived: a file may be deleted at any time, one that is damaged, of another form, or made from
something else is as good as none. It is written aside and takes its name when it is whole. A part of an array is read
by its rows alone: compressed rows (indptr, indices, data, ids) can be shared out by ranges.
"""

import contextlib
import fcntl
import json
import math
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MAGIC = b"CMSNAP 2\n"
ALIGNED = 64
#: What an array may hold: fixed widths, no objects.
KINDS = "biufM"


@dataclass(frozen=True)
class Snapshot:
    """What was kept: arrays that the process may write to without changing the file, and facts beside them."""

    state: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def save(path: Path, identity: str, state: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keeps the arrays under this name. `identity` says what they are of, `state` which content that had.

    Raises OSError when the file cannot be written, ValueError for an array of objects.
    """
    parts, described, place = [], {}, 0
    for name, values in arrays.items():
        if values.dtype.kind not in KINDS:
            raise ValueError(f"array {name}: {values.dtype} cannot be kept in a snapshot")
        data = _bytes(values)
        described[name] = [values.dtype.str, list(values.shape), place, zlib.crc32(data)]
        parts.append(data)
        place += -(-len(data) // ALIGNED) * ALIGNED
    header = json.dumps({"identity": identity, "state": state, "facts": dict(facts), "arrays": described}).encode()
    lead = MAGIC + b"%d %d\n" % (len(header), zlib.crc32(header)) + header
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _aside(path) as file:
        file.write(lead.ljust(-(-len(lead) // ALIGNED) * ALIGNED, b"\0"))
        for data in parts:
            file.write(data)
            file.write(bytes(-len(data) % ALIGNED))


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name at the end. One writer at a time: another one's is as good, so who comes second fails.

    What a killed writer left is written over by the next one.
    """
    aside = path.with_name(f"{path.name}.new")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:  # noqa: PTH123 - opened without truncation
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino != aside.stat().st_ino:
            raise BlockingIOError(f"{aside} has taken its name meanwhile")
        file.truncate(0)
        yield file
        file.flush()
        aside.replace(path)


def find(path: Path, identity: str) -> Snapshot | None:
    """What was kept under this name of this identity; None when there is nothing, or nothing whole."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as file:
        if file.readline(len(MAGIC)) == MAGIC:
            size, check = map(int, file.readline(40).split())
            header = file.read(size)
            if len(header) == size and zlib.crc32(header) == check:
                begin = -(-file.tell() // ALIGNED) * ALIGNED
                return _mapped(file.fileno(), begin, json.loads(header), identity)
    return None


def _mapped(file: int, begin: int, header: Mapping[str, Any], identity: str) -> Snapshot | None:
    if header["identity"] != identity:
        return None
    # Copied on write: whoever sorts an array in place sorts its own.
    content = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
    arrays = {}
    for name, (kind, shape, place, check) in header["arrays"].items():
        dtype, cells = np.dtype(kind), math.prod(shape)
        if dtype.kind not in KINDS or begin + place + cells * dtype.itemsize > len(content):
            return None
        arrays[name] = np.frombuffer(content, dtype, cells, begin + place).reshape(shape)
        if zlib.crc32(_bytes(arrays[name])) != check:
            return None
    return Snapshot(header["state"], header["facts"], arrays)


def _bytes(values: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(values).view(np.uint8).data
