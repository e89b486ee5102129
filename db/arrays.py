"""Rows of any driver gathered into arrays, a batch at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import chain, count
from struct import Struct, error
from typing import Any

import numpy as np

from db.canonical import USERS, Shape
from db.errors import SourceError
from db.values import CONVERSIONS, Array, first_bad, objects

#: Kinds whose cells are eight bytes, and what struct calls them: it takes no text, no NULL, no fraction for an integer.
PACKED = {"id": ("q", np.int64), "int": ("q", np.int64), "float": ("d", np.float64)}


class Columns(dict[str, Array]):
    """Arrays of one length by canonical name; `rows` is that length, `skipped_null` how many rows had a NULL key.

    `coded` holds, for each column of text ids, the distinct ids in no order, and for each row its id's place there.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        rows: int,
        skipped_null: int,
        coded: Mapping[str, tuple[Array, Array]] | None = None,
    ) -> None:
        super().__init__(arrays)
        self.rows = rows
        self.skipped_null = skipped_null
        self.coded = dict(coded or {})


class Texts:
    """Distinct text ids, numbered as they come: a row costs four bytes, however long its id is."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._listed: Array = objects([])

    def codes(self, values: Sequence[str]) -> Array:
        return np.fromiter(map(self._numbers.__getitem__, values), np.uint32, len(values))

    def distinct(self) -> Array:
        if len(self._listed) < len(self._numbers):
            self._listed = objects(list(self._numbers))
        return self._listed


class Gathering:
    """Takes batches of rows in the order of `columns` and gives the arrays at the end."""

    def __init__(self, source: str, shape: Shape, columns: Sequence[str]) -> None:
        self.seen = 0
        self._skipped = 0
        self._source = source
        self._kinds = {name: shape.columns.get(name, "any") for name in columns}
        self._required = [i for i, name in enumerate(columns) if name in shape.required]
        self._parts: dict[str, list[Array]] = {name: [] for name in columns}
        people = Texts()
        self._texts = {c: people if c in USERS else Texts() for c, kind in self._kinds.items() if kind == "id"}

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.seen += len(rows)
        packed = _packed(tuple(self._kinds.values()), rows)
        if packed is not None:
            for name, values in zip(self._kinds, packed, strict=True):
                self._parts[name].append(values)
            return
        columns = list(zip(*rows, strict=True))
        if wanting := [i for i in self._required if _has_nulls(columns[i])]:
            whole = [row for row in rows if not any(_is_null(row[i]) for i in wanting)]
            self._skipped += len(rows) - len(whole)
            columns = list(zip(*whole, strict=True))
        for name, cells in zip(self._kinds, columns, strict=False):
            self._parts[name].append(self._convert(name, cells))

    def finish(self) -> Columns:
        text = {c for c in self._texts if any(part.dtype == np.uint32 for part in self._parts[c])}
        if text & USERS:
            text |= self._texts.keys() & USERS
        # The parts of one column go before the next one is joined.
        arrays = {name: self._joined(name, self._parts.pop(name), name in text) for name in self._kinds}
        coded = {name: (self._texts[name].distinct(), arrays[name]) for name in arrays if name in text}
        arrays |= {name: ids[codes] for name, (ids, codes) in coded.items()}
        return Columns(arrays, self.seen - self._skipped, self._skipped, coded)

    def _joined(self, name: str, parts: list[Array], as_codes: bool) -> Array:
        if as_codes:
            number = self._texts[name].codes
            parts = [part if part.dtype == np.uint32 else number(list(map(str, part.tolist()))) for part in parts]
        return np.concatenate(parts) if parts else CONVERSIONS[self._kinds[name]]([])

    def _convert(self, name: str, values: Sequence[Any]) -> Array:
        if name in self._texts and set(map(type, values)) == {str}:
            return self._texts[name].codes(values)
        convert = CONVERSIONS[self._kinds[name]]
        try:
            array = convert(values)
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            bad = first_bad(convert, values)
            raise SourceError(
                f"[sources.{self._source}] columns.{name}: {bad!r} is not a {self._kinds[name]}; map another column, "
                "or leave such rows out with where"
            ) from None
        return self._texts[name].codes(array.tolist()) if name in self._texts and array.dtype == object else array


def _packed(kinds: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> list[Array] | None:
    """The columns of rows that hold nothing but whole numbers and floats; None of others, for `_convert` to look at.

    All cells of a batch go through one call of struct: three times as fast as a column at a time.
    """
    if not rows or not all(map(_is_packed, kinds, rows[0])):
        return None
    try:
        cells = _packer(kinds, len(rows)).pack(*chain.from_iterable(rows))
    except (error, TypeError, ValueError, OverflowError):
        return None
    table = np.frombuffer(cells, [(str(i), PACKED[kind][1]) for i, kind in enumerate(kinds)])
    columns = [np.ascontiguousarray(table[str(i)]) for i in range(len(kinds))]
    if any(column.dtype == np.float64 and bool(np.isnan(column).any()) for column in columns):
        return None
    return columns


def _is_packed(kind: str, cell: object) -> bool:
    if kind not in PACKED or isinstance(cell, bool):
        return False
    return isinstance(cell, int | float | Decimal if kind == "float" else int)


@lru_cache(8)
def _packer(kinds: tuple[str, ...], rows: int) -> Struct:
    return Struct("=" + "".join(PACKED[kind][0] for kind in kinds) * rows)


def _is_null(value: object) -> bool:
    """True for NULL, and for the NaN of a floating-point column, which no job can use either."""
    return value is None or value != value


def _has_nulls(values: Sequence[Any]) -> bool:
    return None in values or (isinstance(values[0], float | Decimal) and any(map(_is_null, values)))
