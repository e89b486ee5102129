"""The mirror against a real server of its own: whole entities, versions that never go back, losses that are noticed."""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from db import mirror
from db.errors import Lost, OutputError, RedisUnavailable, Superseded
from db.mirror import Mirror
from db.redis_server import connect

META: dict[str, str | int] = {"run_id": 7, "rows": 2, "built_at": "2026-03-08T07:00:00Z"}


@pytest.fixture(scope="module")
def server() -> Iterator["Redis"]:
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        client = connect("embedded", Path(folder))
        assert client is not None
        yield client
        client.close()


@pytest.fixture
def client(server: "Redis") -> "Redis":
    server.flushall()
    return server


@pytest.fixture
def held(client: "Redis") -> Mirror:
    return Mirror(client, "app")


def test_a_json_entity_is_one_string_under_its_documented_key(held: Mirror, client: "Redis") -> None:
    held.begin("similar", 3)
    assert held.write_json("similar", 3, "similar", [("p1", b'{"v":3}'), ("p2", b"{}")]) == 2
    assert client.get("cm:app:similar:p1") == b'{"v":3}'
    assert client.ttl("cm:app:similar:p1") == -1
    assert held.read_json("similar", "p1") == {"v": 3}
    assert held.read_json("similar", "p9") is None


def test_a_version_is_held_once_it_is_finished(held: Mirror) -> None:
    assert held.begin("news", 5) is None
    assert held.version("news") is None
    held.finish("news", 5, META)
    assert held.version("news") == 5
    assert held.begin("news", 6) == 5
    assert held.version("news") == 5


def test_the_meta_hash_tells_readers_what_they_read(held: Mirror, client: "Redis") -> None:
    held.begin("news", 5)
    held.finish("news", 5, META)
    fields = {"version": "5", "run_id": "7", "rows": "2", "built_at": "2026-03-08T07:00:00Z"}
    assert fields.items() <= held.meta("news").items()
    assert client.hget("cm:app:meta:news", "version") == b"5"


def test_an_older_version_may_not_begin_after_a_newer_one(held: Mirror, client: "Redis") -> None:
    held.begin("news", 6)
    with pytest.raises(Superseded, match='output "news": version 5 gives way to 6'):
        Mirror(client, "app").begin("news", 5)


@pytest.mark.parametrize("act", ["json", "sets", "fields", "whole", "remove", "finish"])
def test_an_older_version_that_was_overtaken_changes_nothing(held: Mirror, client: "Redis", act: str) -> None:
    held.begin("out", 1)
    newer = Mirror(client, "app")
    newer.begin("out", 2)
    newer.write_json("out", 2, "x", [("a", b'"new"')])
    before = {key: client.dump(key) for key in client.scan_iter()}
    acts: dict[str, Callable[[], object]] = {
        "json": lambda: held.write_json("out", 1, "x", [("a", b'"old"')]),
        "sets": lambda: held.write_sets("out", 1, "x", [("a", [1])]),
        "fields": lambda: held.write_hash("out", 1, "x:a", {"f": "1"}, [], whole=False),
        "whole": lambda: held.write_hash("out", 1, "x:a", {"f": "1"}, [], whole=True),
        "remove": lambda: held.remove("out", 1, "x", ["a"]),
        "finish": lambda: held.finish("out", 1, META),
    }
    with pytest.raises(Superseded):
        acts[act]()
    assert {key: client.dump(key) for key in client.scan_iter()} == before


def test_outputs_have_versions_of_their_own(held: Mirror) -> None:
    held.begin("weather", 9)
    held.begin("news", 1)
    held.write_json("news", 1, "news", [("oslo", b"[]")])
    held.finish("news", 1, META)
    assert held.version("weather") is None


def test_a_set_has_afterwards_exactly_the_members_given(held: Mirror) -> None:
    held.begin("friends", 1)
    held.write_sets("friends", 1, "friends", [("1", [2, 3]), ("2", [1])])
    assert held.write_sets("friends", 1, "friends", [("1", [3, 4]), ("2", [])]) == 2
    assert held.read_set("friends", 1) == {"3", "4"}
    assert held.keys_of("friends") == {"1"}


def test_a_set_larger_than_a_batch_is_replaced_whole(held: Mirror, client: "Redis") -> None:
    held.begin("friends", 1)
    count = 2 * mirror.BATCH_MEMBERS + 1
    assert held.write_sets("friends", 1, "friends", [("a", [1]), ("b", range(count)), ("c", [2])]) == 3
    assert client.scard("cm:app:friends:b") == count
    assert client.ttl("cm:app:friends:b") == -1
    assert client.keys("cm:app:tmp:*") == []


def test_a_reader_sees_a_set_as_it_was_or_as_it_is_and_nothing_else(held: Mirror, client: "Redis") -> None:
    generations = [set(map(str, range(n, n + 300))) for n in (0, 1000)]
    held.begin("friends", 1)
    held.write_sets("friends", 1, "friends", [("1", sorted(generations[0]))])
    done = threading.Event()
    seen: list[set[str]] = []

    def read() -> None:
        while not done.is_set():
            seen.append(held.read_set("friends", 1))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(100):
        held.write_sets("friends", 1, "friends", [("1", sorted(generations[turn % 2]))])
    done.set()
    reader.join()
    assert len(seen) > 10
    assert all(members in generations for members in seen)


def test_a_hash_takes_changes_and_removals(held: Mirror) -> None:
    held.begin("counters", 1)
    held.write_hash("counters", 1, "counter:posts", {"1": "10", "2": "20", "3": "30"}, [], whole=True)
    assert held.write_hash("counters", 1, "counter:posts", {"2": "21"}, ["3", "4"], whole=False) == 3
    assert held.read_hash("counter:posts") == {"1": "10", "2": "21"}


def test_a_hash_written_whole_has_no_other_fields(held: Mirror, client: "Redis") -> None:
    held.begin("counters", 1)
    held.write_hash("counters", 1, "counter:posts", {"1": "10"}, [], whole=True)
    held.write_hash("counters", 1, "counter:posts", {"2": "20"}, [], whole=True)
    assert held.read_hash("counter:posts") == {"2": "20"}
    assert client.ttl("cm:app:counter:posts") == -1
    held.write_hash("counters", 1, "counter:posts", {}, [], whole=True)
    assert held.keys_of("counter") == set()


def test_changes_larger_than_a_batch_reach_a_hash_at_once(held: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "BATCH_MEMBERS", 4)
    held.begin("counters", 1)
    held.write_hash("counters", 1, "counter:n", {str(n): "0" for n in range(20)}, [], whole=True)
    held.write_hash("counters", 1, "counter:n", {"1": "1", "20": "1"}, [str(n) for n in range(2, 20)], whole=False)
    assert held.read_hash("counter:n") == {"0": "0", "1": "1", "20": "1"}


def test_removed_entities_are_gone_and_counted(held: Mirror) -> None:
    held.begin("similar", 1)
    held.write_json("similar", 1, "similar", [(str(n), b"{}") for n in range(5)])
    assert held.remove("similar", 1, "similar", [1, "2"]) == 2
    assert held.keys_of("similar") == {"0", "3", "4"}


def test_many_batches_arrive_complete(held: Mirror) -> None:
    held.begin("similar", 1)
    count = 5 * mirror.BATCH_KEYS + 3
    assert held.write_json("similar", 1, "similar", ((str(n), b"%d" % n) for n in range(count))) == count
    assert held.keys_of("similar") == {str(n) for n in range(count)}
    assert held.read_json("similar", count - 1) == count - 1


def test_keys_of_one_prefix_are_not_those_of_another(held: Mirror) -> None:
    held.begin("a", 1)
    held.write_json("a", 1, "a", [("1", b"1"), ("x:y", b"2"), ("*", b"3"), ("", b"4")])
    held.write_json("a", 1, "ab", [("2", b"5")])
    assert held.keys_of("a") == {"1", "x:y", "*", ""}


def test_a_flush_in_the_middle_is_noticed_at_the_next_batch(held: Mirror, client: "Redis") -> None:
    held.begin("news", 2)
    client.flushall()
    with pytest.raises(Lost, match='output "news": Redis lost what version 2 builds on'):
        held.write_json("news", 2, "news", [("oslo", b"[]")])
    assert client.dbsize() == 0


def test_a_flush_in_the_middle_is_noticed_at_the_end(held: Mirror, client: "Redis") -> None:
    held.begin("news", 2)
    held.write_json("news", 2, "news", [("oslo", b"[]")])
    client.flushall()
    with pytest.raises(Lost):
        held.finish("news", 2, META)
    assert held.version("news") is None


def test_a_writer_from_before_a_flush_cannot_finish_what_another_began_after_it(held: Mirror, client: "Redis") -> None:
    held.begin("news", 2)
    client.flushall()
    other = Mirror(client, "app")
    assert other.begin("news", 2) is None
    with pytest.raises(Lost):
        held.finish("news", 2, META)
    other.finish("news", 2, META)
    assert other.version("news") == 2


def test_a_return_to_an_older_snapshot_in_the_middle_is_noticed(held: Mirror, client: "Redis") -> None:
    held.begin("news", 2)
    snapshot = client.dump("cm:app:meta:news")
    assert snapshot is not None
    held.write_json("news", 2, "news", [("oslo", b"[]")])
    client.restore("cm:app:meta:news", 0, snapshot, replace=True)
    with pytest.raises(Lost):
        held.finish("news", 2, META)


def test_a_script_forgotten_by_the_server_is_sent_again(held: Mirror, client: "Redis") -> None:
    held.begin("news", 1)
    client.script_flush()
    held.finish("news", 1, META)
    assert held.version("news") == 1


def test_writing_without_begin_is_refused_as_lost(held: Mirror) -> None:
    with pytest.raises(Lost):
        held.write_json("news", 1, "news", [("oslo", b"[]")])


def test_a_forgotten_output_may_begin_at_a_lower_version(held: Mirror) -> None:
    held.begin("news", 57)
    held.finish("news", 57, META)
    held.forget("news")
    assert held.begin("news", 1) is None


def test_a_server_killed_in_the_middle_has_lost_what_was_written() -> None:
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        client = connect("embedded", Path(folder))
        assert client is not None
        held = Mirror(client, "app")
        held.begin("news", 1)
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
        with pytest.raises(Lost):
            held.finish("news", 1, META)
        client.close()


def test_a_server_that_is_full_is_unavailable_and_keeps_what_it_has(held: Mirror, client: "Redis") -> None:
    held.begin("news", 1)
    held.write_json("news", 1, "news", [("oslo", b'"old"')])
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(RedisUnavailable, match="maxmemory"):
            held.write_json("news", 1, "news", [("oslo", b'"new"')])
    finally:
        client.config_set("maxmemory", "0")
    assert held.read_json("news", "oslo") == "old"


def test_a_server_that_is_down_is_unavailable(tmp_path: Path) -> None:
    client = connect("redis://:secret@127.0.0.1:1/0", tmp_path)
    assert client is not None
    with pytest.raises(RedisUnavailable) as error:
        Mirror(client, "app").begin("news", 1)
    assert "secret" not in str(error.value)


def test_a_client_that_decodes_answers_serves_as_well(server: "Redis", client: "Redis") -> None:
    path = server.config_get("unixsocket")["unixsocket"]
    decoding = Redis(unix_socket_path=path, decode_responses=True)
    held = Mirror(decoding, "app")
    held.begin("friends", 1)
    held.write_sets("friends", 1, "friends", [("å", ["é"])])
    held.finish("friends", 1, META)
    assert (held.version("friends"), held.read_set("friends", "å")) == (1, {"é"})
    assert held.keys_of("friends") == {"å"}
    decoding.close()


@pytest.mark.parametrize("prefix", ["meta", "tmp", "a:b", "*", ""])
def test_a_prefix_that_is_no_name_is_refused(held: Mirror, prefix: str) -> None:
    with pytest.raises(OutputError):
        held.write_json("news", 1, prefix, [("oslo", b"[]")])
