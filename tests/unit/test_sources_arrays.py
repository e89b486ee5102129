import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest

from db.arrays import Gathering
from db.canonical import CANONICAL
from db.errors import SourceError


def gathered(source, columns, *batches):
    gathering = Gathering(source, CANONICAL[source], columns.split())
    for rows in batches:
        gathering.add(rows)
    return gathering.finish()


def users(*values):
    return gathered("users", "user_id", [(value,) for value in values])["user_id"]


def times(*values):
    return gathered("users", "at", [(value,) for value in values])["at"].astype(str).tolist()


def test_integers_of_every_driver_are_int64():
    ids = users(3, Decimal("4"), 5.0)
    assert (ids.dtype, ids.tolist()) == (np.int64, [3, 4, 5])


def test_one_text_id_makes_all_of_them_text():
    assert users(7, "x").tolist() == ["7", "x"]


def test_one_text_id_in_a_later_batch_makes_the_earlier_ones_text():
    read = gathered("users", "user_id", [(7,)], [("x",)])
    assert read["user_id"].tolist() == ["7", "x"]


def test_digits_in_a_text_column_stay_text():
    assert users("7", "007").tolist() == ["7", "007"]


def test_an_unsigned_id_beyond_int64_is_text():
    assert users(1, 2**63).tolist() == ["1", "9223372036854775808"]


def test_a_uuid_is_text_in_whichever_form_it_comes():
    one = uuid.UUID("12345678-1234-5678-1234-567812345678")
    assert users(one, one.bytes).tolist() == [str(one), str(one)]


def test_both_ends_of_a_friendship_are_of_one_type():
    read = gathered("friendships", "user_id friend_id", [(1, "x")])
    assert (read["user_id"].tolist(), read["friend_id"].tolist()) == (["1"], ["x"])


def test_a_user_and_a_product_may_differ_in_type():
    read = gathered("ratings", "user_id product_id value", [(1, "x", 2)])
    assert (read["user_id"].dtype, read["product_id"].dtype) == (np.int64, object)


def test_rows_without_a_key_are_dropped_and_counted():
    read = gathered(
        "ratings", "user_id product_id value", [(1, 2, 3.5), (None, 2, 1), (1, 3, None), (1, 4, float("nan"))]
    )
    assert (read.rows, read.skipped_null, read["value"].tolist()) == (1, 3, [3.5])


def test_a_batch_of_nothing_but_nulls_leaves_the_others():
    read = gathered("users", "user_id", [(None,)], [(1,)])
    assert (read.rows, read.skipped_null, read["user_id"].tolist()) == (1, 1, [1])


def test_no_rows_are_empty_arrays_of_the_right_type():
    read = gathered("ratings", "user_id value at")
    assert [a.dtype.kind for a in read.values()] == ["i", "f", "M"]


def test_a_value_that_is_no_number_is_named_with_its_key():
    with pytest.raises(SourceError, match=r"\[sources.ratings\] columns.value: 'four' is not a float"):
        gathered("ratings", "value", [(3,), ("four",)])


def test_times_are_utc_whatever_zone_they_came_in():
    oslo = timezone(timedelta(hours=1))
    assert (
        times(datetime(2026, 3, 8, 8, tzinfo=oslo), datetime(2026, 3, 8, 7), "2026-03-08T07:00:00Z", 1772953200)
        == ["2026-03-08T07:00:00.000000"] * 4
    )


def test_a_date_is_its_midnight_and_no_time_is_not_a_time():
    assert times(date(2026, 3, 8), None) == ["2026-03-08T00:00:00.000000", "NaT"]


def test_a_time_with_a_zone_of_its_own_is_not_read_twice():
    assert times(datetime(2026, 3, 8, 7, tzinfo=UTC)) == ["2026-03-08T07:00:00.000000"]


@pytest.mark.parametrize(("value", "meant"), [(1, True), ("f", False), (None, False), ("Yes", True)])
def test_read_marks_come_in_many_forms(value, meant):
    assert gathered("messages", "read", [(value,)])["read"].tolist() == [meant]


def test_a_sum_of_integers_is_an_integer_though_the_driver_says_decimal():
    gathering = Gathering("mine", CANONICAL["users"], ["total", "mean"])
    gathering.add([(Decimal("12"), Decimal("4.00"))])
    read = gathering.finish()
    assert (read["total"].dtype, read["mean"].dtype) == (np.int64, np.float64)


def test_text_ids_are_numbered_by_distinct_id_for_all_columns_of_people_together():
    read = gathered("friendships", "user_id friend_id", [("b", "a")], [("a", "c")])
    ids, codes = read.coded["user_id"]
    others, friends = read.coded["friend_id"]
    assert ids is others
    assert (ids[codes].tolist(), ids[friends].tolist()) == (["b", "a"], ["a", "c"])
    assert sorted(ids.tolist()) == ["a", "b", "c"]


def test_a_fraction_among_integers_is_not_cut_off():
    assert users(3, 4.5).tolist() == ["3", "4.5"]


def test_a_truth_value_is_no_integer_id():
    assert users(True, False).tolist() == ["True", "False"]


def test_a_batch_that_is_not_plain_follows_one_that_is():
    read = gathered("ratings", "user_id value", [(1, 2.0)], [(2, None), (3, Decimal("4.5"))], [(4, 1)])
    assert (read["user_id"].tolist(), read["value"].tolist(), read.skipped_null) == ([1, 3, 4], [2.0, 4.5, 1.0], 1)
