"""Counts by watermark are those of counting everything, whenever the rows come."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockmill.counting import Counted, from_json, keep_count, kept, summary, told, values_of
from db.errors import SourceError
from db.sources import SourceSpec
from db.watermarks import Part, literal, narrowed

NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Table:
    """Rows (increment, key) that are counted as a database would, and a counter kept over them."""

    def __init__(self):
        self.rows = []
        self.asked = []
        self.published, self.standing = None, None

    def count(self, part):
        self.asked.append(part)
        return dict(Counter(key for at, key in self.rows if self.holds(part, at)))

    @staticmethod
    def holds(part, at):
        if at is None:
            return part.since is None and part.at is None
        since, before, exact = (None if mark is None else int(mark) for mark in (part.since, part.before, part.at))
        return (since is None or at >= since) and (before is None or at < before) and (exact is None or at == exact)

    def furthest(self, since):
        marks = [at for at, _ in self.rows if at is not None and (since is None or at >= int(since))]
        return str(max(marks)) if marks else None

    def run(self, now=NOON, digest="posts", recount=DAY):
        self.asked = []
        counted = keep_count(self.count, self.furthest, self.published, self.standing, digest, now, recount)
        self.published, self.standing = counted.values, counted.standing
        return counted

    def everything(self):
        return dict(Counter(key for _, key in self.rows))


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc")), max_size=5), max_size=6))
def test_rows_that_come_in_order_are_counted_once_also_several_at_one_instant(batches):
    table, at = Table(), 0
    for batch in batches:
        for step, key in batch:
            at += step
            table.rows.append((at, key))
        assert table.run().values == table.everything()


def test_only_rows_from_the_mark_on_are_counted():
    table = Table()
    table.rows = [(1, "a"), (2, "a"), (3, "b")]
    table.run()
    table.rows += [(3, "a"), (5, "b")]
    counted = table.run()
    assert counted.values == {"a": 3, "b": 2}
    assert counted.how == "new rows"
    assert table.asked == [Part(since="3", at="5"), Part(since="3", before="5")]


def test_a_row_that_comes_late_is_missed_until_the_recount_says_so():
    table = Table()
    table.rows = [(1, "a"), (5, "b")]
    table.run()
    table.rows += [(2, "a"), (6, "b")]
    assert table.run().values == {"a": 1, "b": 2}
    counted = table.run(NOON + DAY)
    assert counted.values == {"a": 2, "b": 2}
    assert counted.drift == {"a": (1, 2)}
    assert told("posts", counted.drift) == "posts: the recount found 1 values off, the most 'a': 2, not 1; repaired"
    assert summary({"posts": counted, "other": Counted({})}) == "1 by recount, 1 counted; drift repaired: posts"
    assert table.run(NOON + DAY).drift == {}


def test_rows_that_came_since_are_no_drift():
    table = Table()
    table.rows = [(1, "a"), (2, "b")]
    table.run()
    table.rows += [(2, "b"), (3, "a")]
    counted = table.run(NOON + DAY)
    assert (counted.how, counted.drift, counted.values) == ("recount", {}, {"a": 2, "b": 2})


def test_rows_without_an_increment_are_counted_with_everything():
    table = Table()
    table.rows = [(None, "a"), (2, "a")]
    assert table.run().values == {"a": 2}


@pytest.mark.parametrize("missing", ["digest", "standing", "published"])
def test_without_what_it_builds_on_everything_is_counted(missing):
    table = Table()
    table.rows = [(1, "a"), (2, "b")]
    table.run()
    if missing != "digest":
        setattr(table, missing, None)
    counted = table.run(digest="another query" if missing == "digest" else "posts")
    assert (counted.how, counted.values) == ("counted", {"a": 1, "b": 1})


def test_an_increment_that_goes_back_asks_for_everything():
    table = Table()
    table.rows = [(1, "a"), (9, "b")]
    table.run()
    table.rows.pop()
    counted = table.run()
    assert (counted.how, counted.values) == ("an increment that went back", {"a": 1})


def test_a_source_without_marks_is_counted_whole():
    table = Table()
    table.rows = [(None, "a")]
    assert (table.run().values, table.standing) == ({"a": 1}, None)


def test_a_standing_comes_back_as_it_was_left():
    table = Table()
    table.rows = [(1, "a")]
    table.run()
    assert from_json(kept({"posts": table.standing})[0]) == {"posts": table.standing}


SPEC = SourceSpec("posts", increment="at", where="not gone -- yet")


@pytest.mark.parametrize(
    ("part", "where"),
    [
        (Part(), "(\nnot gone -- yet\n)"),
        (Part(since="3"), '(\nnot gone -- yet\n) AND "at" >= 3'),
        (Part(before="3"), '(\nnot gone -- yet\n) AND ("at" < 3 OR "at" IS NULL)'),
        (Part(since="3", before="5"), '(\nnot gone -- yet\n) AND "at" >= 3 AND "at" < 5'),
        (Part(since="3", at="5"), '(\nnot gone -- yet\n) AND "at" >= 3 AND "at" = 5'),
    ],
)
def test_a_part_of_a_source_is_a_condition_more(part, where):
    assert narrowed(SPEC, part).where == where


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (0.1, "0.1"), (NOON, "'2026-03-08 12:00:00+00:00'"), (NOON.date(), "'2026-03-08'"), ("o'c", "'o''c'")],
)
def test_a_mark_is_written_as_sql_has_it(value, text):
    assert literal(SPEC, value) == text


@pytest.mark.parametrize("value", [True, b"x", "a\\b", float("inf")])
def test_what_has_no_plain_literal_is_no_mark(value):
    with pytest.raises(SourceError, match=r"\[sources.posts\] increment: .* is no mark"):
        literal(SPEC, value)


def test_the_sum_of_no_rows_counts_nothing():
    assert values_of(["a", "b", 3], [None, float("nan"), 2]) == {"3": 2.0}
