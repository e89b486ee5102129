"""What a file or an array holds in one column, made into what a canonical table keeps. A column at a time."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from db.canonical import ID_LENGTH, URL_LENGTH, IdKind, Kind

TRUE = frozenset({"1", "t", "true", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "n", "no"})

#: The length of 2026-03-08T07:00:00Z, which is how times are kept.
SHORT = 20

#: What a person reads when a cell cannot be taken.
ALLOWED: Mapping[Kind, str] = {
    "id": f"an id of at most {ID_LENGTH} characters",
    "int": "a whole number",
    "float": "a finite number",
    "bool": "true or false",
    "time": "a time (ISO 8601, or seconds since the epoch)",
    "text": "a text that this column can hold",
}


class BadCell(Exception):
    """The value at `index` of a column cannot be taken."""

    def __init__(self, index: int, value: object) -> None:
        super().__init__(index, value)
        self.index = index
        self.value = value


def is_missing(value: object) -> bool:
    return value is None or value == "" or value != value


def have_missing(values: Sequence[Any]) -> bool:
    return None in values or "" in values or (isinstance(values[0], float) and any(map(is_missing, values)))


def integers(values: Sequence[Any]) -> list[int] | None:
    """The ids as integers when every one is a canonical decimal that fits in 63 bits (no "+", no "007"), else None."""
    types = set(map(type, values))
    try:
        numbers = list(values) if types == {int} else list(map(int, values))
    except (ValueError, TypeError, OverflowError):
        return None
    if numbers and (min(numbers) <= -(2**63) or max(numbers) >= 2**63):
        return None
    if types == {int}:
        return numbers
    texts = values if types == {str} else map(_id, values)
    return numbers if list(map(str, numbers)) == list(texts) else None


def column(kind: Kind, ids: IdKind | None, in_key: bool, values: Sequence[Any]) -> Sequence[Any]:
    """The values as the table keeps them, None where there is none; raises BadCell at one that cannot be taken."""
    if kind == "id" and ids == "int":
        return integers(values) or [_each(_integer, i, value) for i, value in enumerate(values)]
    one = _key_text if kind == "text" and in_key else ONE[kind]
    try:
        return [None if value is None or value == "" else one(value) for value in values]
    except (ValueError, TypeError, OverflowError, OSError):
        return [None if is_missing(value) else _each(one, i, value) for i, value in enumerate(values)]


def _each(one: Callable[[Any], Any], index: int, value: object) -> Any:
    try:
        return one(value)
    except (ValueError, TypeError, OverflowError, OSError):
        raise BadCell(index, value) from None


def _integer(value: object) -> int:
    numbers = integers([value])
    if numbers is None:
        raise ValueError(value)
    return numbers[0]


def _id(value: object) -> str:
    # A column of integers with gaps comes out of many tools as 1.0, 2.0.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    return _at_most(ID_LENGTH, text)


def _key_text(value: object) -> str:
    return _at_most(URL_LENGTH, str(value))


def _at_most(length: int, text: str) -> str:
    # PostgreSQL keeps no NUL character.
    if len(text) > length or "\0" in text:
        raise ValueError(text)
    return text


def _text(value: object) -> str:
    text = str(value)
    return _at_most(len(text), text)


def _float(value: Any) -> float:
    number = float(value)
    if number - number != 0:  # an infinity, or no number
        raise ValueError(value)
    return number


def _whole(value: Any) -> int:
    number = int(value)
    if number != Decimal(str(value)) or not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError(value)
    return word in TRUE


def _time(value: Any) -> str:
    """ISO 8601 in UTC; no zone means UTC."""
    match value:
        case datetime():
            at = value
        case date():
            at = datetime(value.year, value.month, value.day)
        case int() | float():
            at = datetime.fromtimestamp(value, UTC)
        case str() if value.lstrip("-").replace(".", "", 1).isdecimal():
            at = datetime.fromtimestamp(float(value), UTC)
        case _:
            at = datetime.fromisoformat(value)
            if len(value) == SHORT and value.endswith("Z") and value[10] == "T":
                return str(value)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat().removesuffix("+00:00") + "Z"


ONE: Mapping[Kind, Callable[[Any], Any]] = {
    "id": _id,
    "int": _whole,
    "float": _float,
    "bool": _bool,
    "time": _time,
    "text": _text,
}
