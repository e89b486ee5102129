"""Ratings and counts by events: kept once, and shown by the run that follows."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from clockmill import EventContext, config
from clockmill.exchange.cloudevents import Event
from clockmill.exchange.handling import Group
from clockmill.handler_spec import HandlerSpec
from clockmill.mill import Mill
from db.engine import read
from db.load import load_columns


@pytest.fixture
def mill(database_url, tmp_path):
    tables = {"database": {"url": database_url}, "redis": {"url": "none"}}
    made = Mill(config.merge(tmp_path, None, tables, {}))
    yield made
    made.engine.dispose()


def event(n, what, **data):
    return Event(f"e-{n}", "/test", f"app.{what}", data, datetime(2026, 3, 8, tzinfo=UTC))


def query(mill, sql):
    with read(mill.engine) as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def test_a_rating_is_kept_and_the_next_run_shows_it(mill, run):
    rows = [(user, product) for user in range(6) for product in range(3)]
    users, products = zip(*rows, strict=True)
    load_columns(
        mill.engine, "ratings", {"user_id": list(users), "product_id": list(products), "value": [1.0] * len(rows)}
    )
    run(mill, "similarity")
    told = [
        event(1, "rating.created", user_id=1, product_id=77, value=4),
        event(2, "rating.created", user_id=2, product_id=77, value=5.0),
        event(3, "rating.created", user_id=2, product_id=0, value="five"),
        event(4, "rating.deleted", user_id=5, product_id=2),
    ]
    results = Group(mill, mill.registry.handlers["rating"], told).handle()
    assert [(one.state, one.reason) for one in results] == [
        ("done", ""),
        ("done", ""),
        ("refused", "its data.value is 'five'; expected a number"),
        ("done", ""),
    ]
    assert query(mill, "SELECT user_id, value, at FROM ratings WHERE product_id = 77 ORDER BY 1") == [
        (1, 4.0, "2026-03-08T00:00:00Z"), (2, 5.0, "2026-03-08T00:00:00Z")
    ]  # fmt: skip
    assert query(mill, "SELECT count(*) FROM ratings") == [(len(rows) + 1,)]
    assert query(mill, "SELECT job, state FROM runs WHERE slot_key LIKE 'e:%'") == [("similarity", "scheduled")]
    run(mill, "similarity")
    incremental = sorted(query(mill, "SELECT * FROM similar_current"))
    assert {row[2] for row in incremental if row[0] == 77} == {0, 1, 2}
    run(mill, "similarity", full=True)
    assert sorted(query(mill, "SELECT * FROM similar_current")) == incremental


def test_a_handler_counts_each_event_once_and_the_counters_job_shows_it(mill, run):
    def likes(ctx: EventContext) -> None:
        for one in ctx.events:
            ctx.counter("likes_by_post", 1, key=one.data["post_id"])

    spec = HandlerSpec("likes", ("app.like.created",), likes, batch=10)
    told = [event(n, "like.created", post_id=5 + n % 2, user_id=n) for n in range(5)]
    for _ in range(2):
        Group(mill, spec, told).handle()
    run(mill, "counters")
    counted = """SELECT "key", value FROM counters_current WHERE name = 'likes_by_post' ORDER BY 1"""
    assert query(mill, counted) == [("5", 3.0), ("6", 2.0)]
