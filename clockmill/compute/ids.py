"""Ids of users and products: 64-bit integers or text, made into dense codes in the order of the ids."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64] | npt.NDArray[np.object_]
IdsLike = npt.NDArray[Any] | Sequence[int] | Sequence[str]
Codes = npt.NDArray[np.uint32]

#: Integer ids are looked up in a table while their range is at most this many times their number; else sorted.
DENSE = 8


def as_ids(name: str, values: IdsLike) -> Ids:
    """`values` as an int64 array, or an object array of str; an empty one is int64."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one column, not an array of {array.ndim} dimensions")
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind in "iu" and (array.dtype != np.uint64 or array.max() <= np.iinfo(np.int64).max):
        return array.astype(np.int64, copy=False)
    if array.dtype.kind in "OUT" and set(map(type, array.tolist() if array is values else values)) == {str}:
        return array.astype(np.object_, copy=False)
    raise ValueError(f"{name} must hold 64-bit integers or text only, without NULL; seen: {array.dtype}")


def same_length(**columns: npt.NDArray[Any]) -> None:
    """Raises ValueError unless all columns have one length."""
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise ValueError(f"columns must have one length; seen: {lengths}")


def factorise(values: Ids) -> tuple[Ids, Codes]:
    """The distinct ids, ascending (integers by value, text by its UTF-8 bytes), and for each value its place there."""
    if values.dtype == np.object_:
        return _factorise_text(values.tolist())
    if values.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.uint32)
    low, high = int(values.min()), int(values.max())
    if high - low < DENSE * values.size:
        present = np.zeros(high - low + 1, np.bool_)
        present[values - low] = True
        place = np.cumsum(present, dtype=np.uint32) - np.uint32(1)
        return np.flatnonzero(present) + low, place[values - low]
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct.astype(np.int64), codes.astype(np.uint32)


def _factorise_text(values: list[str]) -> tuple[Ids, Codes]:
    # Python compares text by code point, which is the order of its UTF-8 bytes.
    distinct = sorted(set(values))
    place = {value: i for i, value in enumerate(distinct)}
    codes = np.fromiter(map(place.__getitem__, values), np.uint32, len(values))
    ids = np.empty(len(distinct), np.object_)
    ids[:] = distinct
    return ids, codes
