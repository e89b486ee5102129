"""Rows of any driver gathered into arrays, a batch at a time."""

import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.canonical import USERS, Shape
from db.errors import SourceError

Array = NDArray[Any]

TRUE = frozenset({"1", "t", "true", "y", "yes"})
FALSE = frozenset({"", "0", "f", "false", "n", "no"})


class Columns(dict[str, Array]):
    """Arrays of one length by canonical name; `rows` is that length, `skipped_null` how many rows had a NULL key."""

    def __init__(self, arrays: Mapping[str, Array], rows: int, skipped_null: int) -> None:
        super().__init__(arrays)
        self.rows = rows
        self.skipped_null = skipped_null


class Gathering:
    """Takes batches of rows in the order of `columns` and gives the arrays at the end."""

    def __init__(self, source: str, shape: Shape, columns: Sequence[str]) -> None:
        self.seen = 0
        self._skipped = 0
        self._source = source
        self._kinds = {name: shape.columns.get(name, "any") for name in columns}
        self._required = [i for i, name in enumerate(columns) if name in shape.required]
        self._parts: dict[str, list[Array]] = {name: [] for name in columns}

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self.seen += len(rows)
        columns = list(zip(*rows, strict=True))
        if wanting := [i for i in self._required if _has_nulls(columns[i])]:
            whole = [row for row in rows if not any(_is_null(row[i]) for i in wanting)]
            self._skipped += len(rows) - len(whole)
            columns = list(zip(*whole, strict=True))
        for name, values in zip(self._kinds, columns, strict=False):
            self._parts[name].append(self._convert(name, values))

    def finish(self) -> Columns:
        people = [self._parts[name] for name in self._kinds if name in USERS]
        if any(part.dtype == object for parts in people for part in parts):
            for parts in people:
                parts[:] = [_as_text(part) for part in parts]
        arrays = {name: _joined(kind, self._parts[name]) for name, kind in self._kinds.items()}
        return Columns(arrays, self.seen - self._skipped, self._skipped)

    def _convert(self, name: str, values: Sequence[Any]) -> Array:
        convert = CONVERSIONS[self._kinds[name]]
        try:
            return convert(values)
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            bad = _first_bad(convert, values)
            raise SourceError(
                f"[sources.{self._source}] columns.{name}: {bad!r} is not a {self._kinds[name]}; map another column, "
                "or leave such rows out with where"
            ) from None


def _is_null(value: object) -> bool:
    """True for NULL, and for the NaN of a floating-point column, which no job can use either."""
    return value is None or value != value


def _has_nulls(values: Sequence[Any]) -> bool:
    return None in values or (isinstance(values[0], float | Decimal) and any(map(_is_null, values)))


def _first_bad(convert: Callable[[Sequence[Any]], Array], values: Iterable[Any]) -> object:
    for value in values:
        try:
            convert([value])
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            return value
    raise AssertionError("one of the values was refused")


def _objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _ids(values: Sequence[Any]) -> Array:
    types = set(map(type, values))
    if types == {str}:
        # One object for each distinct id, however many rows name it.
        return _objects(list(map(sys.intern, values)))
    if types != {int}:
        values = [_id(value) for value in values]
        types = set(map(type, values))
    return _int64(values) if _fits(types, values) else _objects([sys.intern(str(value)) for value in values])


def _fits(types: set[type], values: Sequence[Any]) -> bool:
    """True when every value is an integer that int64 can hold."""
    return types <= {int} and (not values or (min(values) >= -(2**63) and max(values) < 2**63))


def _int64(values: Sequence[Any]) -> Array:
    return np.fromiter(values, dtype=np.int64, count=len(values))


def _id(value: object) -> int | str:
    """Drivers give the same id as int, Decimal or float; a UUID or bytes only have a text."""
    match value:
        case str() | int() if not isinstance(value, bool):
            return value
        case Decimal() | float() if value == int(value):
            return int(value)
        case bytes() if len(value) == 16:
            return str(uuid.UUID(bytes=value))
        case bytes():
            return value.decode("utf-8", "backslashreplace")
    return str(value)


def _floats(values: Sequence[Any]) -> Array:
    return np.array(values, dtype=np.float64)


def _ints(values: Sequence[Any]) -> Array:
    return _int64(list(map(int, values)))


def _texts(values: Sequence[Any]) -> Array:
    return _objects([value if value is None or isinstance(value, str) else str(_id(value)) for value in values])


def _bools(values: Sequence[Any]) -> Array:
    return np.fromiter(map(_bool, values), dtype=np.bool_, count=len(values))


def _bool(value: object) -> bool:
    if not isinstance(value, str):
        return bool(value)
    word = value.strip().lower()
    if word in TRUE | FALSE:
        return word in TRUE
    raise ValueError(value)


def _times(values: Sequence[Any]) -> Array:
    return np.array([_time(value) for value in values], dtype="datetime64[us]")


def _time(value: object) -> datetime | None:
    """An instant in UTC without its zone, as numpy keeps it; a number is seconds since the epoch, no zone means UTC."""
    match value:
        case None | "":
            return None
        case datetime():
            at = value
        case date():
            at = datetime(value.year, value.month, value.day)
        case int() | float() | Decimal():
            at = datetime.fromtimestamp(float(value), UTC)
        case _:
            at = datetime.fromisoformat(str(value))
    return at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)


def _anything(values: Sequence[Any]) -> Array:
    types = set(map(type, values))
    if types <= {int, Decimal} and all(map(_is_whole, values)):
        # A sum of integers is a numeric without decimals on two of the databases.
        values, types = list(map(int, values)), {int}
    if _fits(types, values):
        return _int64(values)
    if types <= {int, float, Decimal}:
        return _floats(values)
    return _objects(values)


def _is_whole(value: int | Decimal) -> bool:
    return isinstance(value, int) or value.as_tuple().exponent == 0


CONVERSIONS: Mapping[str, Callable[[Sequence[Any]], Array]] = {
    "id": _ids,
    "int": _ints,
    "float": _floats,
    "text": _texts,
    "bool": _bools,
    "time": _times,
    "any": _anything,
}


def _as_text(part: Array) -> Array:
    return part if part.dtype == object else _objects([sys.intern(str(value)) for value in part.tolist()])


def _joined(kind: str, parts: list[Array]) -> Array:
    if kind == "id" and any(part.dtype == object for part in parts):
        parts = [_as_text(part) for part in parts]
    return np.concatenate(parts) if parts else CONVERSIONS[kind]([])
