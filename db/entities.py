"""One output's rows as JSON values, one for each key, readable from any language:

    {"v": version, "at": built_at, "items": [[id, score, {why...}], ...]}

The same rows give the same bytes, whichever of the two ways below wrote them: many rows go through compiled code
(db.entities_fast), few through the plain one, which is spared the loading.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from db.entities_fast import Column

Columns = Mapping[str, NDArray[Any]]

#: Rows made into bytes at once, always of whole keys: they stay in the processor's cache.
CHUNK_ROWS = 10_000
#: From so many rows on compiled code pays: when the process has numba already, and when it must be loaded first.
FAST_ROWS = 20_000
FAST_ROWS_COLD = 400_000


@dataclass(frozen=True)
class Shape:
    """Which columns make an entity: its key, an item's id, its score (None: null), and the fields of its reasons.

    `kinds` says what a column of `why` holds: id, int, float, text, time, json (ready JSON text, or a value to be
    made into some). Ids are JSON numbers from integer arrays, JSON strings from others.
    """

    key: str
    item: str
    score: str | None
    why: Mapping[str, str]


class Block(NamedTuple):
    """Values of some keys, one after another in `data`: that of the i-th ends before ends[i]."""

    keys: list[str]
    ends: list[int]
    data: memoryview

    def values(self) -> Iterator[tuple[str, bytes]]:
        """Each key with its value."""
        return ((key, bytes(self.data[a:b])) for key, (a, b) in zip(self.keys, pairwise([0, *self.ends]), strict=True))


def json_values(version: int, at: str, columns: Columns, shape: Shape) -> Iterator[tuple[str, bytes]]:
    """(key, value) of each run of equal keys, in the order of the rows; columns are arrays of one length.

    NaN, infinities and None become null. Keys must lie together: a key in two places gives two values.
    """
    return chain.from_iterable(block.values() for block in json_blocks(version, at, columns, shape))


def json_blocks(version: int, at: str, columns: Columns, shape: Shape) -> Iterator[Block]:
    """The same in blocks of about CHUNK_ROWS rows: a million values are never held one by one."""
    keys = columns[shape.key]
    starts = _starts(keys)
    woven = _woven_fast if _many(len(keys)) else _woven
    for first, last in _chunks(starts):
        cut = slice(int(starts[first]), int(starts[last]))
        ends = starts[first + 1 : last + 1] - starts[first]
        part = {name: values[cut] for name, values in columns.items()}
        names = list(map(str, keys[starts[first:last]].tolist()))
        yield Block(names, *woven(_head(version, at), part, shape, ends))


def _many(rows: int) -> bool:
    return rows >= (FAST_ROWS if "numba" in sys.modules else FAST_ROWS_COLD)


def _starts(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Where each run of equal keys starts, and the end of the last."""
    changes = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    return np.concatenate(([0], changes, [len(keys)])).astype(np.int64) if len(keys) else np.zeros(1, np.int64)


def _chunks(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of keys with about CHUNK_ROWS rows, at least one key each."""
    first, keys = 0, len(starts) - 1
    while first < keys:
        last = int(np.searchsorted(starts, starts[first] + CHUNK_ROWS, side="right")) - 1
        last = max(first + 1, last)
        yield first, last
        first = last


def _head(version: int, at: str) -> str:
    return f'{{"v":{version},"at":{encode_basestring(at)},"items":['


def _literals(shape: Shape) -> list[str]:
    """What stands before each cell of an item, and after the last."""
    fields = [f"{encode_basestring(name)}:" for name in shape.why]
    before = [f"{',' if n else ''}{field}" for n, field in enumerate(fields)]
    if not before:
        return ["[", ",", ",{}]"]
    return ["[", ",", ",{" + before[0], *before[1:], "}]"]


def _woven(head: str, part: Columns, shape: Shape, ends: NDArray[np.int64]) -> tuple[list[int], memoryview]:
    """The values of whole keys, and where each ends; `ends` says after which row."""
    literals = _literals(shape)
    template = "%s".join(literal.replace("%", "%%") for literal in literals)
    items = [template % cells for cells in zip(*(_texts(*column) for column in _typed(part, shape)), strict=True)]
    values = [f"{head}{','.join(items[a:b])}]}}".encode() for a, b in pairwise(chain([0], ends.tolist()))]
    return list(accumulate(map(len, values))), memoryview(b"".join(values))


def _typed(part: Columns, shape: Shape) -> Iterator[tuple[str, NDArray[Any]]]:
    yield "id", part[shape.item]
    scores = part[shape.score] if shape.score else np.full(len(part[shape.item]), np.nan)
    yield ("int" if scores.dtype.kind in "iu" else "float"), scores
    for name, kind in shape.why.items():
        yield kind, part[name]


def _texts(kind: str, values: NDArray[Any]) -> list[str]:
    """Each value of a column as JSON."""
    listed: list[Any] = values.tolist()
    if values.dtype.kind in "iu":
        return list(map(str, listed))
    if kind == "json" and set(map(type, listed)) == {str}:
        return listed
    write = WRITERS[kind]
    return ["null" if value is None else write(value) for value in listed]


def _number(value: float) -> str:
    return repr(value) if abs(value) < np.inf else "null"  # false for NaN as well


def _json(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: Any) -> str:
    return encode_basestring(str(value))


def _id(value: Any) -> str:
    return encode_basestring(value) if isinstance(value, str) else str(value)


def _whole(value: Any) -> str:
    # An integer column with gaps comes as floats with NaN.
    return str(int(value)) if abs(value) < np.inf else "null"


WRITERS: dict[str, Callable[[Any], str]] = {
    "id": _id,
    "int": _whole,
    "float": lambda value: _number(float(value)),
    "text": _text,
    "time": _text,
    "json": _json,
}


def _woven_fast(head: str, part: Columns, shape: Shape, ends: NDArray[np.int64]) -> tuple[list[int], memoryview]:
    from db import entities_fast

    columns = [_column_fast(kind, values) for kind, values in _typed(part, shape)]
    return entities_fast.weave(head, _literals(shape), columns, ends)


def _column_fast(kind: str, values: NDArray[Any]) -> "Column":
    if values.dtype.kind == "i" or (values.dtype.kind == "u" and values.dtype.itemsize < 8):
        return np.ascontiguousarray(values, np.int64)
    if kind == "float" and values.dtype.kind == "f":
        return np.ascontiguousarray(values, np.float64)
    return _texts(kind, values)
