"""Friends and recommendations by events: what two people see at once, and that all equals a full build afterwards."""

import itertools
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from clockmill import config
from clockmill.exchange.cloudevents import Event
from clockmill.exchange.handling import Group
from clockmill.mill import Mill
from db import outputs
from db.engine import read, write
from db.load import load_columns

RING = {(u, (u + step) % 60) for u in range(60) for step in (1, 2, 5)}
numbers = itertools.count()


@pytest.fixture
def mill(database_url, tmp_path):
    tables = {
        "database": {"url": database_url}, "redis": {"url": "none"}, "broker": {"url": "amqp://nobody.example"}
    }  # fmt: skip
    made = Mill(config.merge(tmp_path, None, tables, {}))
    yield made
    made.engine.dispose()


def befriend(mill, rows):
    users, friends = zip(*sorted(rows), strict=True)
    load_columns(mill.engine, "friendships", {"user_id": list(users), "friend_id": list(friends)}, replace=True)


def event(what, user, friend):
    data = {"user_id": user, "friend_id": friend}
    return Event(f"e-{next(numbers)}", "/test", f"app.friendship.{what}", data, datetime(2026, 3, 8, tzinfo=UTC))


def handle(mill, *events):
    spec = mill.registry.handlers["friendship"]
    return [(result.state, result.reason) for result in Group(mill, spec, events).handle()]


def published(mill, output, *users):
    with read(mill.engine) as connection:
        rows = sorted(tuple(row) for row in connection.execute(text(f"SELECT * FROM {output}_current")))
    return [row for row in rows if not users or row[0] in users]


def both(mill):
    return published(mill, "friends"), published(mill, "recommendations")


def rounded(rows):
    return [(user, rank, candidate, round(score, 9), *why) for user, rank, candidate, score, *why in rows]


@pytest.mark.parametrize("weighting", ["adamic_adar", "jaccard"])
def test_what_two_people_see_is_what_a_full_build_shows_them(mill, run, weighting):
    befriend(mill, RING)
    mill.config.table("jobs")["recommendations"] = {"params": {"weighting": weighting}}
    run(mill, "recommendations", weighting=weighting)
    told = [event("created", 3, 30), event("deleted", 11, 10), event("created", 200, 12), event("created", 30, 31)]
    assert handle(mill, *told) == [("done", "")] * 4
    now = published(mill, "friends", 3, 30, 10, 11, 200, 12), published(mill, "recommendations", 3, 30, 10, 11, 200, 12)
    run(mill, "recommendations", weighting=weighting, full=True)
    assert published(mill, "friends", 3, 30, 10, 11, 200, 12) == now[0]
    assert rounded(published(mill, "recommendations", 3, 30, 10, 11, 200, 12)) == rounded(now[1])


def test_the_lists_of_others_follow_and_then_all_is_that_of_a_full_build(mill, run):
    befriend(mill, RING)
    run(mill, "recommendations")
    handle(mill, event("created", 3, 30), event("deleted", 10, 11))
    followed = run(mill, "recommendations")["builds"]["recommendations"]
    assert followed["build"] == "partial"
    incremental = both(mill)
    assert run(mill, "recommendations", full=True)["builds"]["recommendations"]["changed"] == 0
    assert both(mill) == incremental
    with read(mill.engine) as connection:
        asked = connection.execute(text("SELECT job, state FROM runs WHERE slot_key LIKE 'e:%'")).all()
    assert [tuple(row) for row in asked] == [("recommendations", "scheduled")]


def test_a_run_leaves_what_events_replaced_while_it_was_at_work(mill, run, monkeypatch):
    befriend(mill, RING)
    run(mill, "recommendations")
    befriend(mill, RING | {(20, 45)})
    begin, write_rows = outputs.Build.begin, outputs.Build.write

    def overtaken(build):
        if isinstance(build, outputs.Build) and build.run_id is not None and build.spec.name == "friends":
            monkeypatch.setattr(outputs.Build, "begin", begin)
            handle(mill, event("created", 3, 30))
        begin(build)

    def again(build, *args):
        if build.run_id is not None and build.spec.name == "recommendations":
            monkeypatch.setattr(outputs.Build, "write", write_rows)
            handle(mill, event("created", 5, 40))
            write_rows(build, *args)
            handle(mill, event("created", 20, 41))
        else:
            write_rows(build, *args)

    monkeypatch.setattr(outputs.Build, "begin", overtaken)
    monkeypatch.setattr(outputs.Build, "write", again)
    run(mill, "recommendations")
    friends = published(mill, "friends", 3, 5, 20, 45)
    # 20 and 45 were befriended in the source that the run read; 20 was replaced by an event meanwhile.
    assert {(3, 30), (5, 40), (20, 41), (45, 20)} <= set(friends)
    ranks = [row[:2] for row in published(mill, "recommendations")]
    assert len(ranks) == len(set(ranks))
    run(mill, "recommendations")
    incremental = both(mill)
    assert run(mill, "recommendations", full=True)["builds"]["recommendations"]["changed"] == 0
    assert both(mill) == incremental
    for name in ("friends", "recommendations"):
        _, row = outputs.find(mill.engine, name)
        assert outputs.publication(mill.engine, name, row.version).rows == len(published(mill, name))


def test_events_that_can_never_be_handled_are_set_aside_and_the_others_go_on(mill, run):
    befriend(mill, RING)
    run(mill, "recommendations")
    results = handle(
        mill, event("created", 7, 7), event("created", "seven", 8), event("created", "17", 40), event("deleted", 700, 8)
    )
    assert results == [
        ("refused", "user 7 cannot be a friend of themselves"),
        ("refused", "'seven' is no id here; ids are whole numbers of 64 bits"),
        ("done", ""),
        ("done", ""),
    ]
    assert (17, 40) in published(mill, "friends")
    assert published(mill, "recommendations", 700) == []


def test_an_event_about_the_applications_own_table_is_a_hint(mill, run):
    with write(mill.engine) as connection:
        connection.execute(text("DROP TABLE IF EXISTS pals"))
        connection.execute(text("CREATE TABLE pals (a INTEGER, b INTEGER, PRIMARY KEY (a, b))"))
        connection.execute(text("INSERT INTO pals VALUES (:a, :b)"), [{"a": a, "b": b} for a, b in sorted(RING)])
    mill.config.table("sources")["friendships"] = {"table": "pals", "columns": {"user_id": "a", "friend_id": "b"}}
    try:
        run(mill, "recommendations")
        with write(mill.engine) as connection:
            connection.execute(text("INSERT INTO pals VALUES (30, 3)"))
        handle(mill, event("created", 3, 30), event("created", 4, 44), event("deleted", 10, 11))
        friends = published(mill, "friends", 3, 4, 10)
        assert ((3, 30) in friends, (4, 44) in friends, (10, 11) in friends) == (True, False, True)
        with read(mill.engine) as connection:
            assert connection.execute(text("SELECT count(*) FROM pals")).scalar() == len(RING) + 1
    finally:
        with write(mill.engine) as connection:
            connection.execute(text("DROP TABLE pals"))


def test_the_first_friendship_of_all_makes_the_table_and_asks_for_the_first_run(mill, run):
    assert handle(mill, event("created", "ann", "bob"), event("created", "bob", "cid")) == [("done", "")] * 2
    run(mill, "recommendations")
    assert published(mill, "friends", "bob") == [("bob", "ann"), ("bob", "cid")]
    handle(mill, event("created", "cid", "dan"))
    assert [row[2] for row in published(mill, "recommendations", "dan")] == ["bob"]


def test_versions_of_events_cost_no_search_and_leave_nothing_behind(mill, run):
    befriend(mill, RING)
    run(mill, "recommendations")
    for n in range(3):
        handle(mill, event("created", n, 30 + n))
    run(mill, "recommendations")
    run(mill, "recommendations")
    with read(mill.engine) as connection:
        kept = connection.execute(text("SELECT count(*) FROM output_state WHERE name LIKE 'replaced.%'")).scalar()
    assert kept == 0
