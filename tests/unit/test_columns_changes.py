"""What is to be inserted and what to be closed, against a plain dictionary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.columns import as_column, changed_rows, sort_rows, take, to_columns

BY, COMPARED = ("key", "rank"), ("value", "word")
KINDS = {"key": "text", "rank": "int", "value": "float", "word": "text"}


def columns(rows, kinds=KINDS):
    return sort_rows(to_columns([(*by, *rest) for by, rest in rows.items()], kinds), BY)


def picked(columns, chosen):
    rows = take(columns, chosen)
    return {(k, r): (v, w) for k, r, v, w in zip(*(rows[name].tolist() for name in KINDS), strict=True)}


KEYS = st.sampled_from(["", "a", "A", "a ", "é", "\U0001f600", "\uffee", "10", "9"])
VALUES = st.sampled_from([None, 0.0, -0.0, 0.5, 1e300])
ROWS = st.dictionaries(
    st.tuples(KEYS, st.integers(-2, 3)), st.tuples(VALUES, st.sampled_from([None, "", "x", "y"])), max_size=25
)


def same(a, b):
    return a == b or (a is not None and a[0] is None and b is not None and b[0] is None and a[1] == b[1])


@settings(max_examples=150, deadline=None)
@given(ROWS, ROWS)
def test_what_changes_is_what_a_dictionary_says(before, after):
    current, new = columns(before), columns(after)
    insert, close = changed_rows(current, new, BY, COMPARED)
    inserted, closed = picked(new, insert), picked(current, close)
    assert set(inserted) == {key for key, row in after.items() if not same(before.get(key), row)}
    assert set(closed) == {key for key, row in before.items() if not same(after.get(key), row)}


def test_rows_with_whole_number_keys_are_told_apart_at_the_edges_of_their_type():
    kinds = {"key": "int", "rank": "int", "value": "float", "word": "text"}
    ends = [(-(2**63), 1), (2**63 - 1, 1), (0, -(2**63)), (0, 2**63 - 1)]
    before = columns(dict.fromkeys(ends, (1.0, "x")), kinds)
    after = columns(dict.fromkeys(ends[1:], (1.0, "x")), kinds)
    insert, close = changed_rows(before, after, BY, COMPARED)
    assert not insert.any()
    assert picked(before, close) == {ends[0]: (1.0, "x")}


def test_a_key_given_twice_is_refused_with_its_values():
    twice = to_columns([("a", 1, 0.5, "x"), ("a", 1, 0.6, "y")], KINDS)
    with pytest.raises(ValueError, match="two rows for key = 'a', rank = 1"):
        changed_rows(columns({}), twice, BY, COMPARED)


def test_texts_sort_by_code_point():
    rows = sort_rows({"key": as_column(["é", "Z", "a", "\U0001f600", "\uffee", "10", "9"], "text")}, ["key"])
    assert rows["key"].tolist() == ["10", "9", "Z", "a", "é", "\uffee", "\U0001f600"]


# -- what a job hands over


def test_ids_are_whole_numbers_if_all_of_them_are():
    assert as_column([1, 2], "id").dtype == np.int64
    assert as_column([1, "b"], "id").tolist() == ["1", "b"]
    assert as_column(np.array([1, 2], np.int32), "id").dtype == np.int64


def test_texts_of_digits_stay_texts():
    assert as_column(["01", "2"], "id").tolist() == ["01", "2"]


def test_an_absent_number_is_none_in_a_database():
    assert np.isnan(as_column([None, 1], "float")).tolist() == [True, False]


@pytest.mark.parametrize("values", [[1.5], ["1"], [None], np.array([0.5])])
def test_a_whole_number_is_expected_where_it_is_declared(values):
    with pytest.raises(ValueError, match="expected whole numbers"):
        as_column(values, "int")


def test_a_null_where_a_whole_number_is_declared_is_refused():
    with pytest.raises(ValueError, match="column n holds NULL where an integer is declared"):
        to_columns([(None,)], {"n": "int"})
