"""The bytes of PostgreSQL's binary COPY."""

import numpy as np

from db.copy_binary import encode, order


def texts(*values):
    return np.array([*values, None], object)[:-1]


def test_columns_of_eight_bytes_come_first():
    assert order([texts("a"), np.array([1]), np.array([0.5]), np.array([np.nan])]) == [1, 2, 0, 3]


def test_a_row_is_its_number_of_fields_then_length_and_bytes_of_each():
    assert (
        encode([np.array([7]), texts("é")]) == b"\0\2" + b"\0\0\0\x08" + b"\0" * 7 + b"\7" + b"\0\0\0\2" + b"\xc3\xa9"
    )


def test_null_is_a_length_of_minus_one():
    assert encode([texts(None)]) == b"\0\1\xff\xff\xff\xff"
    assert encode([np.array([np.nan])]) == b"\0\1\xff\xff\xff\xff"


def test_a_column_with_gaps_keeps_its_numbers():
    null, half = b"\xff\xff\xff\xff", b"\0\0\0\x08" + b"\x3f\xe0" + b"\0" * 6
    assert encode([np.array([np.nan, 0.5])]) == b"\0\1" + null + b"\0\1" + half


def test_several_texts_lie_one_after_another():
    assert encode([texts("a", ""), texts(None, "bc")]) == (
        b"\0\2" + b"\0\0\0\1a" + b"\xff\xff\xff\xff" + b"\0\2" + b"\0\0\0\0" + b"\0\0\0\2bc"
    )
