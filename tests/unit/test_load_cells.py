from datetime import UTC, date, datetime

import pytest

from db.cells import BadCell, column, integers


@pytest.mark.parametrize("text", ["0", "-7", "9223372036854775807", "-9223372036854775807"])
def test_a_canonical_decimal_is_an_integer(text):
    assert integers([text]) == [int(text)]


@pytest.mark.parametrize(
    "text",
    ["007", "+7", " 7", "7 ", "-0", "1_000", "٧", "7.0", "1e3", "", "x", "9223372036854775808", "-9223372036854775808"],
)
def test_anything_else_is_text(text):
    assert integers([text]) is None


def test_integers_with_gaps_come_out_of_many_tools_as_floats():
    assert integers([1.0, 2.0]) == [1, 2]


def test_a_float_with_decimals_is_text():
    assert column("id", "text", True, [1.5]) == ["1.5"]


def test_a_truth_value_is_no_integer_id():
    assert integers([True]) is None


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("float", "3.5", 3.5),
        ("int", "12", 12),
        ("bool", "True", True),
        ("bool", "no", False),
        ("time", "2026-03-08T07:00:00Z", "2026-03-08T07:00:00Z"),
        ("time", "2026-03-08 08:00:00+01:00", "2026-03-08T07:00:00Z"),
        ("time", "2026-03-08", "2026-03-08T00:00:00Z"),
        ("time", "881250949", "1997-12-04T15:55:49Z"),
        ("time", 881250949, "1997-12-04T15:55:49Z"),
        ("time", datetime(2026, 3, 8, 7, 0, 0, 5, UTC), "2026-03-08T07:00:00.000005Z"),
        ("time", date(2026, 3, 8), "2026-03-08T00:00:00Z"),
        ("text", "a 'quoted' name", "a 'quoted' name"),
        ("text", "", None),
        ("time", None, None),
    ],
)
def test_a_cell_is_kept_as(kind, given, kept):
    assert column(kind, None, False, [given]) == [kept]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("float", "nan"),
        ("float", "inf"),
        ("float", "3,5"),
        ("int", "1.5"),
        ("bool", "maybe"),
        ("time", "yesterday"),
        ("time", "99999999999999"),
        ("text", "a\0b"),
        ("id", "x" * 256),
    ],
)
def test_a_cell_that_cannot_be_taken_is_pointed_at(kind, given):
    with pytest.raises(BadCell) as error:
        column(kind, None, False, [None, given])
    assert (error.value.index, error.value.value) == (1, given)


def test_a_text_id_in_an_integer_column_is_pointed_at():
    with pytest.raises(BadCell) as error:
        column("id", "int", True, ["1", "x"])
    assert error.value.index == 1


def test_the_address_of_a_feed_has_a_bound():
    with pytest.raises(BadCell):
        column("text", None, True, ["http://example.org/" + "a" * 500])
