"""Columns as PostgreSQL's binary COPY takes them, built by numpy: a row is its number of fields, then for each field
its length and its bytes, all numbers big-endian; a length of -1 is NULL.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from collections.abc import Sequence
from itertools import chain, takewhile
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = -1

_pack = Struct(">d").pack


def order(columns: Sequence["NDArray[Any]"]) -> list[int]:
    """The places of the columns in the order in which `encode` writes them: those of eight bytes come first."""
    return sorted(range(len(columns)), key=lambda i: not _is_fixed(columns[i]))


def encode(columns: Sequence["NDArray[Any]"]) -> bytes:
    """Rows of columns (or of a part of each) that `order` has put in order: int64 as int8, float64 as
    float8, objects as text, bool or NULL.

    A NaN is NULL, as everywhere in an output's table.
    """
    import numpy as np

    wide = len(list(takewhile(_is_fixed, columns)))
    fixed, others = columns[:wide], [_cells(values) for values in columns[wide:]]
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for i, values in enumerate(fixed):
        fields += [(f"length{i}", ">i4"), (f"value{i}", ">f8" if values.dtype.kind == "f" else ">i8")]
    if others:
        fields.append(("next", ">i4"))
    rows = np.empty(len(columns[0]), fields)
    rows["fields"] = len(columns)
    for i, values in enumerate(fixed):
        rows[f"length{i}"] = 8
        rows[f"value{i}"] = values
    if not others:
        return rows.tobytes()
    rows["next"] = others[0][1]
    pieces = [_split(rows), others[0][0]]
    for cells, lengths in others[1:]:
        pieces += [_split(lengths.astype(">i4")), cells]
    return b"".join(chain.from_iterable(zip(*pieces, strict=True)))


def _is_fixed(values: "NDArray[Any]") -> bool:
    import numpy as np

    return values.dtype == np.int64 or (values.dtype == np.float64 and not bool(np.isnan(values).any()))


def _cells(values: "NDArray[Any]") -> tuple[list[bytes], "NDArray[Any]"]:
    """The bytes of each value, and how many there are: NULL has none, and says so by its length."""
    import numpy as np

    if values.dtype.kind == "f":
        nulls = np.isnan(values)
        cells = [b"" if cell != cell else _pack(cell) for cell in values.tolist()]
    else:
        nulls = values == None  # noqa: E711 - numpy compares each element
        try:
            cells = list(map(str.encode, values.tolist()))
        except TypeError:
            cells = list(map(_cell, values.tolist()))
    lengths = np.fromiter(map(len, cells), np.int32, len(cells))
    lengths[nulls] = NULL
    return cells, lengths


def _cell(value: object) -> bytes:
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    return b"" if value is None else str(value).encode()


def _split(rows: "NDArray[Any]") -> list[bytes]:
    """The bytes of each row."""
    listed: list[bytes] = rows.view(f"V{rows.dtype.itemsize}").tolist()
    return listed
