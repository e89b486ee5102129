"""Rows of different lengths, one after another: row i is values[indptr[i]:indptr[i + 1]]."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def pointers(lengths: Ints) -> Ints:
    """Where each row begins, and the end of the last."""
    indptr = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    return indptr


def entries_of(indptr: Ints, rows: Ints) -> Ints:
    """The places of all values of some rows, row by row."""
    lengths = indptr[rows + 1] - indptr[rows]
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places: Ints = np.repeat(indptr[rows], lengths) + within
    return places


def row_of_each(indptr: Ints) -> Ints:
    """For each value the row it belongs to."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
