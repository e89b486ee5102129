"""Rows as columns: named numpy arrays of one length. numpy is loaded when a function is called, not before."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Columns = dict[str, "NDArray[Any]"]

DTYPES = {"int": "int64", "float": "float64"}


def length(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def joined(parts: Sequence[Columns]) -> Columns:
    """The rows of several, one after another; each has the same columns."""
    import numpy as np

    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def take(columns: Columns, chosen: "NDArray[Any]") -> Columns:
    return {name: values[chosen] for name, values in columns.items()}


def to_columns(rows: Sequence[Any], kinds: Mapping[str, str]) -> Columns:
    """Rows of a query, their values in the order of `kinds`, as columns: int64, float64 (NULL is NaN) or objects."""
    import numpy as np

    values = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    columns: Columns = {}
    for (name, kind), column in zip(kinds.items(), values, strict=True):
        if kind == "int" and None in column:
            raise ValueError(f"column {name} holds NULL where an integer is declared")
        columns[name] = _objects(column) if kind not in DTYPES else np.array(column, dtype=DTYPES[kind])
    return columns


def _objects(values: Sequence[Any]) -> "NDArray[Any]":
    import numpy as np

    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def as_column(values: Any, kind: str) -> "NDArray[Any]":
    """What a job hands over for one column, as an array of its kind. Raises ValueError when it does not fit."""
    import numpy as np

    if kind == "float":
        return np.asarray([np.nan if v is None else v for v in values] if isinstance(values, list) else values, float)
    array = values if isinstance(values, np.ndarray) else _inferred(values, kind)
    if kind == "int" or (kind == "id" and array.dtype.kind in "iu"):
        if array.dtype.kind not in "iub":
            raise ValueError(f"expected whole numbers, got {array.dtype}")
        return array.astype(np.int64, copy=False)
    return array if array.dtype.kind == "O" else _objects(array.tolist())


def _inferred(values: Any, kind: str) -> "NDArray[Any]":
    import numpy as np

    listed = list(values)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in listed)
    if kind == "int" or (kind == "id" and whole):
        return np.array(listed, dtype=np.int64 if whole else None)
    return _objects([str(value) if kind == "id" else value for value in listed])


def sort_rows(columns: Columns, by: Sequence[str]) -> Columns:
    """The rows in the order of these columns; texts by code point, which is the order of their UTF-8 bytes."""
    import numpy as np

    if length(columns) < 2 or _is_sorted(columns, by):
        return columns
    codes = [np.unique(columns[name], return_inverse=True)[1] for name in reversed(by)]
    return take(columns, np.lexsort(codes))


def _is_sorted(columns: Columns, by: Sequence[str]) -> bool:
    import numpy as np

    equal_so_far = np.ones(length(columns) - 1, dtype=bool)
    for name in by:
        values = columns[name]
        if bool((equal_so_far & (values[:-1] > values[1:])).any()):
            return False
        equal_so_far &= values[:-1] == values[1:]
    return True


def changed_rows(
    current: Columns, new: Columns, by: Sequence[str], compared: Sequence[str]
) -> tuple["NDArray[Any]", "NDArray[Any]"]:
    """Which rows of `new` are to be inserted and which of `current` to be closed: two boolean arrays.

    Both are sorted by `by`, in which no two rows of one side agree. A row stays when the other side has one with the
    same `by` and the same `compared` columns. Raises ValueError when `new` has two rows with the same `by`.
    """
    import numpy as np

    now, then = length(current), length(new)
    here, there = _codes(current, new, by)
    if then > 1 and bool((there[1:] == there[:-1]).any()):
        twice = int(np.flatnonzero(there[1:] == there[:-1])[0])
        raise ValueError("two rows for " + ", ".join(f"{name} = {new[name][[twice]].tolist()[0]!r}" for name in by))
    insert, close = np.ones(then, dtype=bool), np.ones(now, dtype=bool)
    if not now or not then:
        return insert, close
    place = np.minimum(np.searchsorted(here, there), now - 1)
    same = here[place] == there
    for name in compared:
        same &= _equal(current[name][place], new[name])
    insert[same] = False
    close[place[same]] = False
    return insert, close


def _equal(a: "NDArray[Any]", b: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np

    equal: NDArray[Any] = np.asarray(a == b, dtype=bool)
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        equal |= np.isnan(a) & np.isnan(b)
    return equal


def _codes(current: Columns, new: Columns, by: Sequence[str]) -> tuple["NDArray[Any]", "NDArray[Any]"]:
    """One whole number a row, equal and ordered as the `by` columns of both sides are."""
    import numpy as np

    n = length(current)
    codes = np.zeros(n + length(new), dtype=np.int64)
    for name in by:
        both = np.concatenate([current[name], new[name]]) if n else new[name]
        _, inverse = np.unique(both, return_inverse=True)
        width = int(inverse.max(initial=0)) + 1
        if int(codes.max(initial=0)) > (2**62) // width:
            codes = np.unique(codes, return_inverse=True)[1]
        codes = codes * width + inverse
    return codes[:n], codes[n:]
