from datetime import UTC, datetime, timedelta

from clockmill.fetch.feeds import Item
from clockmill.fetch.news import Reading, Subscription, merge, newest
from clockmill.fetch.rows import same

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
A, B = Subscription("tech", "http://a.org/"), Subscription("tech", "http://b.org/")


def item(guid, hours_ago=None, title="t"):
    return Item(guid, title, "", None if hours_ago is None else NOW - timedelta(hours=hours_ago), "")


def guids(rows):
    return [row["guid"] for row in rows]


def read(*items):
    return Reading(items, NOW - timedelta(minutes=1))


def test_the_newest_item_of_all_feeds_is_first():
    rows = merge([A, B], {A.url: read(item("a", 3), item("b", 1)), B.url: read(item("c", 2))}, [], 500, NOW)
    assert guids(rows) == ["b", "c", "a"]


def test_two_feeds_may_use_the_same_guid():
    rows = merge([A, B], {A.url: read(item("1", 3)), B.url: read(item("1", 1))}, [], 500, NOW)
    assert [row["feed"] for row in rows] == ["http://b.org/", "http://a.org/"]


def test_items_that_left_the_feed_are_kept():
    before = merge([A], {A.url: read(item("old", 9))}, [], 500, NOW)
    assert guids(merge([A], {A.url: read(item("new", 1))}, before, 500, NOW)) == ["new", "old"]


def test_a_feed_that_fails_keeps_its_rows():
    before = merge([A], {A.url: read(item("old", 9))}, [], 500, NOW)
    rows = merge([A, B], {A.url: Reading(failure="x"), B.url: read(item("new", 1))}, before, 500, NOW)
    assert guids(rows) == ["new", "old"]


def test_a_corrected_title_replaces_the_earlier_one():
    before = merge([A], {A.url: read(item("a", 9, "Teh"))}, [], 500, NOW)
    assert merge([A], {A.url: read(item("a", 9, "The"))}, before, 500, NOW)[0]["title"] == "The"


def test_a_feed_no_longer_subscribed_to_loses_its_rows():
    before = merge([A, B], {A.url: read(item("a", 1)), B.url: read(item("b", 1))}, [], 500, NOW)
    assert guids(merge([B], {B.url: read(item("b", 1))}, before, 500, NOW)) == ["b"]


def test_a_topic_holds_as_many_items_as_are_kept():
    assert guids(merge([A], {A.url: read(*(item(str(n), n) for n in range(5)))}, [], 2, NOW)) == ["0", "1"]


def test_an_undated_item_keeps_the_time_of_its_first_sight():
    before = merge([A], {A.url: read(item("a"))}, [], 500, NOW)
    later = merge([A], {A.url: Reading([item("a")], NOW)}, before, 500, NOW + timedelta(days=1))
    assert before[0]["published_at"] == later[0]["published_at"] == "2026-03-08T11:59:00Z"


def test_a_date_in_the_future_does_not_hold_the_top():
    rows = merge([A], {A.url: read(item("later", -1000), item("now", 0))}, [], 500, NOW)
    assert guids(rows) == ["now", "later"]


def test_rows_of_one_instant_keep_one_order():
    rows = [{"feed": "f", "guid": guid, "published_at": "2026"} for guid in "bca"]
    assert guids(newest(rows, 9)) == ["a", "b", "c"]


def test_rows_that_differ_in_the_stamp_alone_are_the_same():
    assert same([{"a": 1, "at": 1}], [{"a": 1, "at": 2}], "at")
    assert not same([{"a": 1, "at": 1}], [{"a": 2, "at": 1}], "at")
