"""From committed SQL to Redis: the documented shapes, and what becomes of a Redis that fails."""

import json

import pytest
from redis import Redis
from sqlalchemy import text

from clockmill import config
from clockmill.housekeeping import House
from clockmill.mill import Mill
from clockmill.perform import perform
from clockmill.runner import Runner
from db import outputs, publish
from db.columns import as_column
from db.engine import write
from db.mirror import Mirror
from db.output_spec import OutputSpec, resolve
from db.outputs import Build
from db.publish import mirror_output
from db.refresh import Refresh

AT = "2026-03-08T07:00:00Z"
SIMILAR = OutputSpec(
    "similar", key="product_id", order="rank", item="similar_id", score="score",
    columns={"product_id": "id", "rank": "int", "similar_id": "id", "score": "float", "support": "int", "why": "json"},
)  # fmt: skip
FRIENDS = OutputSpec(
    "friends", key="user_id", item="friend_id", columns={"user_id": "id", "friend_id": "id"}, redis="set"
)
COUNTERS = OutputSpec("counters", key="name", item="key", score="value", redis="hash", redis_key="counter",
                      columns={"name": "text", "key": "text", "value": "float"})  # fmt: skip
NEWS = OutputSpec("news", key="topic", order="at", item="guid", descending=True, newest=2, identity=("guid",),
                  columns={"topic": "text", "guid": "text", "at": "time"})  # fmt: skip


@pytest.fixture
def client(redis_url):
    held = Redis.from_url(redis_url, decode_responses=True)
    yield held
    held.close()


@pytest.fixture
def mirror(client):
    return Mirror(client, "app")


def published(engine, spec, rows, only=None, at_hand=False):
    listed = list(zip(*rows, strict=True)) if rows else [()] * len(spec.columns)
    columns = {n: as_column(list(v), kind) for (n, kind), v in zip(spec.columns.items(), listed, strict=True)}
    build = Build(engine, resolve(spec, columns), run_id=7, fence=3)
    build.begin()
    build.write(columns, only)
    with write(engine) as connection:
        version = build.publish(connection, AT, "digest").version
    return version if not at_hand else build


def test_a_list_is_json_of_version_time_and_items(database, mirror, client):
    published(database, SIMILAR, [(1, 1, 20, 0.5, 3, '["x"]'), (1, 2, 30, 0.25, 2, None), (2, 1, 10, 1.0, 9, "{}")])
    assert mirror_output(database, mirror, "similar") == 2
    assert json.loads(client.get("cm:app:similar:1")) == {
        "v": 1,
        "at": AT,
        "items": [[20, 0.5, {"support": 3, "why": ["x"]}], [30, 0.25, {"support": 2, "why": None}]],
    }
    assert json.loads(client.get("cm:app:similar:2"))["items"] == [[10, 1.0, {"support": 9, "why": {}}]]
    assert client.ttl("cm:app:similar:1") == -1


def test_text_ids_are_texts_in_keys_and_values(database, mirror, client):
    published(database, SIMILAR, [("a b", 1, "é", 0.5, 3, None)])
    mirror_output(database, mirror, "similar")
    assert json.loads(client.get("cm:app:similar:a b"))["items"] == [["é", 0.5, {"support": 3, "why": None}]]


def test_friends_are_a_set(database, mirror, client):
    published(database, FRIENDS, [(1, 2), (1, 3), (2, 1), (2, 3)])
    mirror_output(database, mirror, "friends")
    assert client.smembers("cm:app:friends:1") == {"2", "3"}
    assert client.sinter("cm:app:friends:1", "cm:app:friends:2") == {"3"}


def test_counters_are_hashes_whose_whole_numbers_have_no_fraction(database, mirror, client):
    published(database, COUNTERS, [("posts", "total", 7.0), ("mean", "a", 0.5), ("mean", "b", 2.0)])
    mirror_output(database, mirror, "counters")
    assert client.hgetall("cm:app:counter:posts") == {"total": "7"}
    assert client.hgetall("cm:app:counter:mean") == {"a": "0.5", "b": "2"}


def test_news_hold_the_newest_first_and_so_many(database, mirror, client):
    published(database, NEWS, [("tech", f"g{day}", f"2026-03-0{day}T00:00:00Z") for day in (1, 3, 2)])
    mirror_output(database, mirror, "news")
    assert [item[0] for item in json.loads(client.get("cm:app:news:tech"))["items"]] == ["g3", "g2"]


def test_the_meta_hash_says_what_is_there(database, mirror, client):
    published(database, FRIENDS, [(1, 2)])
    mirror_output(database, mirror, "friends")
    meta = client.hgetall("cm:app:meta:friends")
    expected = {"version": "1", "run_id": "7", "fence": "3", "rows": "1", "built_at": AT, "config_digest": "digest"}
    assert expected.items() <= meta.items()


def test_only_what_changed_is_written_again(database, mirror, client):
    published(database, SIMILAR, [(1, 1, 20, 0.5, 3, None), (2, 1, 10, 1.0, 9, None)])
    mirror_output(database, mirror, "similar")
    published(database, SIMILAR, [(1, 1, 20, 0.5, 3, None), (2, 1, 10, 0.9, 9, None)])
    assert mirror_output(database, mirror, "similar") == 1
    versions = [json.loads(client.get(f"cm:app:similar:{key}"))["v"] for key in (1, 2)]
    assert versions == [1, 2]


@pytest.mark.parametrize("before", [[], [(1, 1, 20, 0.5, 3, None), (2, 1, 10, 1.0, 9, None), (4, 1, 2, 1.0, 1, None)]])
@pytest.mark.parametrize("seen", [True, False])
def test_what_was_just_committed_is_written_as_it_would_be_read(database, mirror, client, before, seen, monkeypatch):
    after = [
        (1, 1, 20, 0.5, 3, None),
        (2, 1, 11, 1.0, 9, None),
        (2, 2, 10, float("nan"), 9, "[]"),
        (3, 1, 1, 0.1, 1, None),
    ]
    published(database, SIMILAR, before)
    if seen:
        mirror_output(database, mirror, "similar")
    client.set("cm:app:similar:77", "stale")
    build = published(database, SIMILAR, after, at_hand=True)
    with monkeypatch.context() as blind:
        blind.delattr(outputs, "read_rows")
        written = mirror_output(database, mirror, "similar", build=build)
    assert publish.verify(database, mirror, "similar") == (["similar:77 is in Redis only"] if seen else [])
    assert written == (2 if before and seen else 3)


@pytest.mark.parametrize("selective", [0, 50_000])
def test_an_entity_that_has_no_rows_any_more_goes(database, mirror, client, monkeypatch, selective):
    monkeypatch.setattr(publish, "SELECTIVE", selective)
    published(database, SIMILAR, [(1, 1, 20, 0.5, 3, None), (2, 1, 10, 1.0, 9, None)])
    mirror_output(database, mirror, "similar")
    published(database, SIMILAR, [(2, 1, 10, 0.5, 9, None)])
    mirror_output(database, mirror, "similar")
    assert client.keys("cm:app:similar:*") == ["cm:app:similar:2"]


def test_the_last_entity_goes_too(database, mirror, client):
    published(database, FRIENDS, [(1, 2)])
    mirror_output(database, mirror, "friends")
    published(database, FRIENDS, [])
    mirror_output(database, mirror, "friends")
    assert client.keys("cm:app:friends:*") == []
    assert mirror.version("friends") == 2


def test_versions_that_redis_never_saw_are_made_up_at_once(database, mirror, client):
    published(database, FRIENDS, [(1, 2)])
    mirror_output(database, mirror, "friends")
    published(database, FRIENDS, [(1, 2), (3, 4)])
    published(database, FRIENDS, [(3, 4), (5, 6)])
    assert mirror_output(database, mirror, "friends") == 2
    assert sorted(client.keys("cm:app:friends:*")) == ["cm:app:friends:3", "cm:app:friends:5"]


def test_parts_of_any_size_mirror_the_same(database, mirror, client, monkeypatch):
    monkeypatch.setattr(publish, "ENTITIES_AT_ONCE", 2)
    published(database, FRIENDS, [(key, key + 1) for key in (5, 1, 30, 7, 22)])
    assert mirror_output(database, mirror, "friends") == 5
    assert len(client.keys("cm:app:friends:*")) == 5


def refreshed(engine, spec, rows, only):
    listed = zip(*rows, strict=True) if rows else [()] * len(spec.columns)
    columns = {n: as_column(list(v), kind) for (n, kind), v in zip(spec.columns.items(), listed, strict=True)}
    refresh = Refresh.of(engine, resolve(spec, columns), len(rows))
    refresh.write(columns, only)
    with write(engine) as connection:
        return refresh.publish(connection, AT, "digest").version


def test_what_an_event_replaces_does_not_wait_until_all_is_mirrored(database, mirror, client, monkeypatch):
    monkeypatch.setattr(publish, "ENTITIES_AT_ONCE", 2)
    published(database, FRIENDS, [(key, key + 1) for key in (1, 5, 7, 22, 30, 40)])
    real, seen = publish._write_entities, []

    def interrupted(*args):
        done = real(*args)
        seen.append(client.smembers("cm:app:friends:40"))
        if len(seen) == 1:
            refreshed(database, FRIENDS, [(40, 99), (50, 51)], [40, 50, 5])
        return done

    monkeypatch.setattr(publish, "_write_entities", interrupted)
    mirror_output(database, mirror, "friends")
    assert seen[:2] == [set(), {"99"}]
    assert publish.verify(database, mirror, "friends") == []
    assert mirror.version("friends") == 2


def test_an_event_beside_a_build_that_died_is_seen_and_the_next_build_undoes_the_dead_one(database):
    published(database, FRIENDS, [(1, 2), (3, 4)])
    columns = {name: as_column(values, "int") for name, values in {"user_id": [1, 3], "friend_id": [9, 9]}.items()}
    dead = Build(database, resolve(FRIENDS, columns), run_id=8, fence=1, room=5)
    dead.begin()
    dead.write(columns)
    assert refreshed(database, FRIENDS, [(1, 7)], [1]) == 2
    spec, row = outputs.find(database, "friends")
    assert outputs.read_rows(database, spec, row.version)["friend_id"].tolist() == [7, 4]
    for n in range(5):
        version = refreshed(database, FRIENDS, [(1, n)], [1]) if n < 4 else Refresh.of(database, spec, 1)
    assert version is None
    assert published(database, FRIENDS, [(1, 4), (3, 4)]) == 8
    assert outputs.read_rows(database, spec, 8)["friend_id"].tolist() == [4, 4]
    assert outputs.publication(database, "friends", 8).rows == 2


def test_nothing_is_written_where_redis_holds_the_version(database, mirror):
    published(database, FRIENDS, [(1, 2)])
    assert mirror_output(database, mirror, "friends") == 1
    assert mirror_output(database, mirror, "friends") == 0
    assert mirror_output(database, mirror, "friends", whole=True) == 1


def test_an_output_for_sql_alone_is_not_mirrored(database, mirror, client):
    spec = OutputSpec("friends", key="user_id", item="friend_id", columns=FRIENDS.columns, redis=None)
    published(database, spec, [(1, 2)])
    assert mirror_output(database, mirror, "friends") == 0
    assert client.keys() == []


def test_what_redis_holds_is_noted_in_sql(database, mirror):
    published(database, FRIENDS, [(1, 2)])
    mirror_output(database, mirror, "friends")
    assert outputs.known(database)["friends"].mirrored == 1


def test_a_flush_is_made_up_whole(database, mirror, client):
    published(database, FRIENDS, [(1, 2), (3, 4)])
    mirror_output(database, mirror, "friends")
    client.flushall()
    assert mirror_output(database, mirror, "friends") == 2
    assert client.smembers("cm:app:friends:3") == {"4"}


def test_an_output_that_was_reset_is_mirrored_from_its_first_version_on(database, mirror, client):
    for members in ([(1, 2)], [(1, 3)], [(4, 5)]):
        published(database, FRIENDS, members)
        mirror_output(database, mirror, "friends")
    outputs.reset(database, "friends")
    published(database, FRIENDS, [("ann", "bob")])
    assert mirror_output(database, mirror, "friends") == 1
    assert client.keys("cm:app:friends:*") == ["cm:app:friends:ann"]
    assert mirror.version("friends") == 1


def test_an_older_version_gives_way_to_one_that_has_begun(database, mirror, monkeypatch):
    published(database, FRIENDS, [(1, 2)])
    spec, row = outputs.find(database, "friends")
    published(database, FRIENDS, [(1, 3)])
    mirror_output(database, mirror, "friends")
    found = iter([(spec, row)])
    real = outputs.find
    monkeypatch.setattr(outputs, "find", lambda *a: next(found, None) or real(*a))
    assert mirror_output(database, mirror, "friends") == 0
    assert mirror.version("friends") == 2
    assert mirror.read_set("friends", 1) == {"3"}


# -- the house, and runs


JOB = """
from clockmill import Output, job

@job(outputs=[Output("grain", key="mill", item="sack", columns={"mill": "id", "sack": "id"}, redis="set")])
def grind(ctx):
    ctx.publish("grain", {"mill": [1], "sack": [ctx.run_id]})
"""


@pytest.fixture
def make_mill(database_url, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "grind.py").write_text(JOB)
    mills = []

    def make(url):
        tables = {"database": {"url": database_url}, "redis": {"url": url}, "scheduler": {"job_folders": ["jobs"]}}
        mills.append(Mill(config.merge(tmp_path, None, tables, {})))
        return mills[-1]

    yield make
    for mill in mills:
        mill.engine.dispose()


class InProcess:
    """Runs the job's side of an attempt right here."""

    def __init__(self, mill):
        self.mill = mill

    def run(self, executor, order, tell):
        from clockmill.executors import Exit

        return Exit("exit", code=perform(self.mill, order, tell))

    def end(self, order, at_once):
        raise AssertionError("nobody asked to end it")


def grind(mill):
    from clockmill.doors import manual_run, stay

    spec = mill.registry.get("grind")
    run_id = manual_run(mill, spec, {}, forced=False, now=mill.now())
    return stay(Runner(mill, InProcess(mill)), run_id, spec).run


def test_a_run_mirrors_what_it_published(make_mill, redis_url, client):
    run = grind(make_mill(redis_url))
    assert run.state == "succeeded"
    assert client.smembers("cm:app:grain:1") == {str(run.run_id)}


def test_a_run_succeeds_without_redis_and_the_publication_is_owed(make_mill, redis_url, client, capsys):
    run = grind(make_mill("redis://127.0.0.1:1"))
    assert run.state == "succeeded"
    assert "Redis" in capsys.readouterr().out
    mill = make_mill(redis_url)
    assert outputs.known(mill.engine)["grain"].mirrored == 0
    House(mill).keep()
    assert client.smembers("cm:app:grain:1") == {str(run.run_id)}
    assert outputs.known(mill.engine)["grain"].mirrored == 1


def test_housekeeping_makes_up_for_a_flush(make_mill, redis_url, client):
    mill = make_mill(redis_url)
    run = grind(mill)
    client.flushall()
    House(mill).keep()
    assert client.smembers("cm:app:grain:1") == {str(run.run_id)}


def test_one_process_keeps_the_house(make_mill, redis_url, client):
    first, second = make_mill(redis_url), make_mill(redis_url)
    grind(first)
    House(first).keep()
    client.flushall()
    House(second).keep()
    assert client.keys() == []
    House(first).keep()
    assert client.exists("cm:app:grain:1")


def test_housekeeping_survives_a_redis_that_is_down(make_mill, caplog):
    mill = make_mill("redis://127.0.0.1:1")
    grind(mill)
    house = House(mill)
    house.keep()
    house.keep()
    assert len([record for record in caplog.records if "Redis" in record.message]) == 1
    with mill.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM grain_current")).scalar() == 1


def test_a_version_that_comes_while_another_is_written_is_left_to_its_writer(database, mirror, client):
    published(database, FRIENDS, [(1, 2)])
    with Mirror(client, "app").turn("friends"):
        assert mirror_output(database, mirror, "friends") == 0
    assert mirror_output(database, mirror, "friends") == 1


def test_a_writer_looks_for_newer_versions_before_it_goes(database, mirror, monkeypatch):
    published(database, FRIENDS, [(1, 2)])
    bring = publish._bring

    def bring_while_another_publishes(*arguments):
        written = bring(*arguments)
        if mirror.version("friends") == 1:
            published(database, FRIENDS, [(1, 2), (3, 4)])
        return written

    monkeypatch.setattr(publish, "_bring", bring_while_another_publishes)
    mirror_output(database, mirror, "friends")
    assert mirror.version("friends") == 2
