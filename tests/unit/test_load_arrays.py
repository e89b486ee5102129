"""Whole columns are converted as one cell after another would be."""

import numpy as np
import pytest

from db.cell_arrays import convert, missing, ready
from db.cells import BadCell, column


@pytest.mark.parametrize(
    ("kind", "ids", "values"),
    [
        ("id", None, np.array([3, -7], np.int16)),
        ("id", None, ["3", "-7", "0", "123456789012345678"]),
        ("id", None, ["9223372036854775807"]),
        ("id", "text", np.array([3])),
        ("id", None, ["1\n2", "3"]),
        ("id", None, ["007"]),
        ("float", None, np.array([3, 4])),
        ("float", None, ["3.5", "1e3"]),
        ("time", None, np.array([881250949, 0])),
        ("time", None, np.array(["2026-03-08T07:00:00.000005", "NaT"], "M8[us]").tolist()),
        ("bool", None, ["yes", None]),
    ],
)
def test_a_column_comes_out_as_cell_by_cell(kind, ids, values):
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    as_cells = ids or ("text" if "007" in listed or "1\n2" in listed else "int")
    cells = column(kind, as_cells if kind == "id" else None, False, listed)
    assert ready(convert(kind, ids, False, values)).tolist() == list(cells)


def test_the_smallest_integer_is_text_as_in_a_file():
    assert convert("id", None, True, np.array([-(2**63)])).tolist() == ["-9223372036854775808"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("float", np.array([1.0, np.inf])),
        ("float", ["1", "inf"]),
        ("time", np.array([0, 99999999999999])),
        ("time", np.array(["2026-03-08", "12026-03-08"], "M8[D]")),
    ],
)
def test_a_cell_that_cannot_be_taken_is_pointed_at(kind, values):
    with pytest.raises(BadCell) as error:
        convert(kind, None, False, values)
    assert error.value.index == 1


def test_what_is_missing_is_seen_in_arrays_and_lists():
    assert missing(np.array([1, 2])) is None
    assert missing(["1", "", None]).tolist() == [False, True, True]
    assert missing(np.array([1.0, np.nan])).tolist() == [False, True]
    assert missing(np.array(["NaT"], "M8[s]")).tolist() == [True]
