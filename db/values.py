"""What drivers give for one column, made into an array of the column's kind. A batch of values at a time."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TRUE = frozenset({"1", "t", "true", "y", "yes"})
FALSE = frozenset({"", "0", "f", "false", "n", "no"})


def first_bad(convert: Callable[[Sequence[Any]], Array], values: Iterable[Any]) -> object:
    for value in values:
        try:
            convert([value])
        except (ValueError, TypeError, OverflowError, ArithmeticError):
            return value
    raise AssertionError("one of the values was refused")


def objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _ids(values: Sequence[Any]) -> Array:
    types = set(map(type, values))
    if types != {int}:
        values = [_id(value) for value in values]
        types = set(map(type, values))
    return _int64(values) if _fits(types, values) else objects(list(map(str, values)))


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
    return objects([value if value is None or isinstance(value, str) else str(_id(value)) for value in values])


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
    return objects(values)


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
