"""A column of a file or an array, made into an array of what a canonical table keeps: as db.cells says, but whole
columns at a time where they hold nothing but numbers or instants."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.canonical import IdKind, Kind
from db.cells import BadCell, column, have_missing, integers, is_missing

Array = NDArray[Any]
Values = Sequence[Any] | Array

#: The first and the last second that Python's datetime can tell.
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
SECOND_US = 1_000_000
_DECIMALS = re.compile(r"(?:(?:0|-?[1-9][0-9]{0,17})\n)*(?:0|-?[1-9][0-9]{0,17})", re.ASCII)


def missing(values: Values) -> Array | None:
    """Which of the values are none at all; None when every one is there."""
    if isinstance(values, np.ndarray):
        none = np.isnan(values) if values.dtype.kind == "f" else np.isnat(values) if values.dtype.kind == "M" else None
        return none if none is not None and bool(none.any()) else None
    if not have_missing(values):
        return None
    return np.fromiter(map(is_missing, values), np.bool_, len(values))


def take(values: Values, places: Array) -> Values:
    return values[places] if isinstance(values, np.ndarray) else [values[i] for i in places.tolist()]


def convert(kind: Kind, ids: IdKind | None, in_key: bool, values: Values) -> Array:
    """int64, float64, datetime64[us] or objects. Raises BadCell at a value that cannot be taken.

    `ids` is what an id column is to hold; None: integers if every value is one, else text.
    """
    if kind == "id":
        return _ids(ids, values)
    if kind == "float":
        return _floats(values)
    if kind == "time" and isinstance(values, np.ndarray) and values.dtype.kind in "iM":
        return _times(values)
    return objects(column(kind, None, in_key, _listed(values)))


def ready(values: Array) -> Array:
    """The same as tables keep it: instants as text, others as they are."""
    if values.dtype.kind != "M":
        return values
    whole = values.astype("datetime64[s]")
    if bool((whole == values).all()):
        return np.datetime_as_string(whole, unit="s", timezone="UTC").astype(object)
    texts = np.where(whole == values, _stamps(whole, "s"), _stamps(values, "us"))
    texts[np.isnat(values)] = None
    return texts


def _stamps(values: Array, unit: Any) -> Array:
    return np.datetime_as_string(values, unit=unit, timezone="UTC").astype(object)


def objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _listed(values: Values) -> Sequence[Any]:
    listed: Sequence[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return listed


def _ids(ids: IdKind | None, values: Values) -> Array:
    whole = isinstance(values, np.ndarray) and values.dtype.kind == "i" and ids != "text"
    if whole and (not len(values) or int(np.min(values)) > -(2**63)):
        return np.asarray(values, np.int64)
    values = _listed(values)
    if ids != "text":
        if (written := _decimals(values)) is not None:
            return written
        if (numbers := integers(values)) is not None:
            return np.array(numbers, np.int64)
    return objects(column("id", ids or "text", True, values))


def _decimals(values: Sequence[Any]) -> Array | None:
    """Texts that are canonical decimals of at most 18 digits, all read in one go; None for others."""
    try:
        lines = "\n".join(values)
    except TypeError:
        return None
    if not _DECIMALS.fullmatch(lines):
        return None
    numbers = np.fromstring(lines, np.int64, sep="\n")
    return numbers if len(numbers) == len(values) else None  # a value may hold a line end


def _floats(values: Values) -> Array:
    try:
        numbers = np.array(values if isinstance(values, np.ndarray) else list(map(float, values)), np.float64)
    except (ValueError, TypeError, OverflowError):
        return np.array(column("float", None, False, _listed(values)), np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise BadCell(int(bad[0]), values[int(bad[0])])
    return numbers


def _times(values: Array) -> Array:
    """Instants of any unit, or whole seconds since the epoch."""
    seconds = values if values.dtype.kind == "i" else values.astype("datetime64[s]").astype(np.int64)
    there = ~np.isnat(values) if values.dtype.kind == "M" else np.ones(len(values), np.bool_)
    bad = np.flatnonzero(there & ((seconds < FIRST_SECOND) | (seconds > LAST_SECOND)))
    if len(bad):
        raise BadCell(int(bad[0]), values[int(bad[0])].item())
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    return (values.astype(np.int64) * SECOND_US).view("datetime64[us]")
