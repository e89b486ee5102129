"""Events in, from a real broker: each has its effect once, in the order of its key, or is set aside with the reason."""

import json
import threading
import time
import uuid
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from clockmill import config
from clockmill.exchange import topology as t
from clockmill.exchange.broadcast import shout
from clockmill.exchange.broker import opened
from clockmill.exchange.dead_letters import listed, send_again
from clockmill.exchange.declaring import declare
from clockmill.exchange.office import Office
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.mill import Mill
from db import bindings, outbox
from db.engine import read, write

JOBS = """
import threading, time
from clockmill import EventContext, JobError, on

FAILING = {}


@on("app.note.*", order_by="thing", retries=2, data={"thing": "id", "n": "int"})
def note(ctx: EventContext) -> None:
    if FAILING.get(ctx.event.data["n"], 0) > 0:
        FAILING[ctx.event.data["n"]] -= 1
        raise JobError("not today")
    thing, n = str(ctx.event.data["thing"]), ctx.event.data["n"]
    ctx.execute("INSERT INTO notes (thing, n) VALUES (:thing, :n)", thing=thing, n=n)


@on("app.count.*", retries=1)
def count(ctx: EventContext) -> None:
    if "poison" in ctx.event.data:
        raise ValueError("indigestible")
    ctx.execute("INSERT INTO notes (thing, n) VALUES ('count', :n)", n=ctx.event.data["n"])
    if ctx.event.data.get("tell"):
        ctx.emit("app.told", {"n": ctx.event.data["n"]})


@on("app.batch.*", batch=10, gather="300ms")
def batch(ctx: EventContext) -> None:
    if any("poison" in event.data for event in ctx.events):
        raise JobError("one of these is poison")
    ctx.execute("INSERT INTO notes (thing, n) VALUES ('batch', :n)", n=len(ctx.events))


@on("app.slow.*", timeout="300ms", retries=0)
def slow(ctx: EventContext) -> None:
    time.sleep(20)


@on("app.stern.*", ack="early")
def stern(ctx: EventContext) -> None:
    ctx.execute("INSERT INTO notes (thing, n) VALUES ('stern', :n)", n=ctx.event.data["n"])
"""


on_sqlite = pytest.mark.parametrize("upgraded", ["sqlite"], indirect=True)


@pytest.fixture
def mill(database_url, broker_url, tmp_path, monkeypatch):
    monkeypatch.setattr(t, "RETRY_DELAYS_S", (1,))
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "listeners.py").write_text(JOBS)
    tables = {
        "database": {"url": database_url},
        "redis": {"url": "none"},
        "scheduler": {"job_folders": ["jobs"]},
        "broker": {"url": broker_url, "max_event": "1M"},
    }
    made = Mill(config.merge(tmp_path, None, tables, {}))
    with write(made.engine) as connection:
        connection.execute(text("CREATE TABLE notes (thing VARCHAR(50), n INTEGER)"))
    yield made
    with write(made.engine) as connection:
        connection.execute(text("DROP TABLE notes"))
    made.engine.dispose()


@contextmanager
def working(mill, **options):
    office = Office(mill, **options)
    ended = []
    thread = threading.Thread(target=lambda: ended.append(office.run()))
    thread.start()
    try:
        assert office.consumer.connected.wait(20)
        office.ended = ended
        yield office
    finally:
        office.stop()
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def office(mill):
    with working(mill) as one:
        yield one


def event(type="app.count.up", id=None, **data):
    whole = {"specversion": "1.0", "id": id or uuid.uuid4().hex, "source": "/test", "type": type, "data": data}
    return json.dumps(whole)


def put(mill, *bodies, key=None):
    publisher = Publisher(mill.config.table("broker")["url"], "test")
    keys = [key or json.loads(body)["type"] for body in bodies]
    assert not any(publisher.send([Letter(body, t.EVENTS, k) for body, k in zip(bodies, keys, strict=True)]))
    publisher.close()


def notes(mill, thing="count"):
    with read(mill.engine) as connection:
        found = connection.execute(text("SELECT n FROM notes WHERE thing = :t"), {"t": thing})
        return [row.n for row in found]


def dead(mill, count=1):
    return eventually(
        lambda: (found := listed(mill.config.table("broker")["url"], 50)) and len(found) >= count and found
    )


def eventually(fact, limit_s=20.0):
    deadline = time.monotonic() + limit_s
    while not (found := fact()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
    return found


def test_an_event_that_comes_three_times_has_its_effect_once(mill, office):
    body = event(n=7)
    put(mill, body, body, event(n=8), body)
    eventually(lambda: sorted(notes(mill)) == [7, 8])
    put(mill, body, event(n=9))
    eventually(lambda: sorted(notes(mill)) == [7, 8, 9])


def test_events_of_a_key_have_their_effects_in_order(mill, office):
    put(mill, *(event("app.note.made", thing=n % 3, n=n) for n in range(60)))
    eventually(lambda: sum(len(notes(mill, str(thing))) for thing in range(3)) == 60)
    for thing in range(3):
        assert notes(mill, str(thing)) == [n for n in range(60) if n % 3 == thing]


@on_sqlite
def test_what_fails_is_tried_again_and_its_key_waits_while_others_go_on(mill, office):
    failing(mill, 0, 2)
    put(mill, event("app.note.made", thing="a", n=0), event("app.note.made", thing="a", n=1))
    put(mill, event("app.note.made", thing="b", n=2))
    eventually(lambda: notes(mill, "b") == [2])
    assert notes(mill, "a") == []
    eventually(lambda: notes(mill, "a") == [0, 1])


def failing(mill, n, times):
    mill.registry.handlers["note"].function.__globals__["FAILING"][n] = times


@on_sqlite
def test_what_fails_too_often_is_set_aside_with_the_reason_and_its_key_goes_on(mill, office):
    failing(mill, 0, 99)
    put(mill, event("app.note.made", thing="a", n=0, id="first"), event("app.note.made", thing="a", n=1))
    (letter,) = dead(mill)
    assert (letter.id, letter.type, letter.queue) == ("first", "app.note.made", "clockmill.on.note")
    assert (letter.reason, letter.attempts) == ("not today", 3)
    eventually(lambda: notes(mill, "a") == [1])
    failing(mill, 0, 0)
    assert send_again(mill.config.table("broker")["url"], {"first"}) == (1, set())
    eventually(lambda: notes(mill, "a") == [1, 0])
    assert listed(mill.config.table("broker")["url"], 9) == []


@on_sqlite
def test_poison_goes_round_and_is_set_aside_while_others_go_on(mill, office):
    put(mill, event(poison=1, id="p"), *(event(n=n) for n in range(30)))
    eventually(lambda: sorted(notes(mill)) == list(range(30)))
    (letter,) = dead(mill)
    assert (letter.id, letter.reason, letter.attempts) == ("p", "ValueError: indigestible", 2)


FORGED = [
    ("no json", None, "its body is not JSON"),
    ('{"id": "1"}', None, "not a CloudEvents 1.0 object"),
    (event(type="app.count.up", id="x").replace('"id": "x", ', ""), None, "its id is missing"),
    (event(type="app.other.up", n=1), "app.count.up", 'its type "app.other.up" is not its routing key "app.count.up"'),
    (event(n=1, filler="x" * 2**20), None, "max_event allows 1M"),
    (event("app.note.made", n=1), "app.note.made", "its data has no thing"),
    (event("app.note.made", thing="x", n="1"), "app.note.made", "its data.n is a text; expected int"),
]


@on_sqlite
def test_what_is_no_event_is_set_aside_with_the_reason_and_others_go_on(mill, office):
    for body, key, _ in FORGED:
        put(mill, body, key=key or "app.count.up")
    put(mill, event(n=1))
    eventually(lambda: notes(mill) == [1])
    found = dead(mill, len(FORGED))
    assert len(found) == len(FORGED)
    for body, _, reason in FORGED:
        (letter,) = [one for one in found if one.body == body.encode()]
        assert reason in letter.reason


@on_sqlite
def test_an_event_sent_past_the_exchange_is_not_handled_by_a_stranger(mill, office):
    publisher = Publisher(mill.config.table("broker")["url"], "test")
    publisher.send([Letter(event("app.note.made", thing=1, n=1, id="lost"), "", "clockmill.on.count")])
    publisher.close()
    (letter,) = dead(mill)
    assert letter.reason == "count does not handle events of type app.note.made"


@on_sqlite
def test_a_type_of_255_bytes_and_a_deep_history_are_handled(mill, office):
    long = "app.count." + "x" * 245
    deaths = [{"queue": f"q{n}", "reason": "rejected", "count": 10**6} for n in range(500)]
    publisher = Publisher(mill.config.table("broker")["url"], "test")
    headers = {"x-death": deaths, "clockmill-attempt": "many", "x-delivery-count": True}
    assert publisher.send([Letter(event(long, n=1), t.EVENTS, long, headers=headers)]) == [""]
    publisher.close()
    eventually(lambda: notes(mill) == [1])


@on_sqlite
def test_events_are_gathered_into_batches(mill, office):
    put(mill, *(event("app.batch.add", n=n) for n in range(25)))
    eventually(lambda: sum(notes(mill, "batch")) == 25)
    assert len(notes(mill, "batch")) <= 5


def test_one_poison_in_a_batch_does_not_take_the_others_with_it(mill, office):
    put(mill, *(event("app.batch.add", n=n, **({"poison": 1} if n == 3 else {})) for n in range(10)))
    eventually(lambda: sum(notes(mill, "batch")) == 9)


@on_sqlite
def test_what_is_answered_for_early_has_its_effect_too(mill, office):
    put(mill, event("app.stern.word", n=5))
    eventually(lambda: notes(mill, "stern") == [5])


@on_sqlite
def test_what_a_handler_emits_is_committed_with_its_effect_and_relayed(mill, office):
    put(mill, event(n=1, tell=True))
    eventually(lambda: notes(mill) == [1])
    eventually(lambda: outbox.waiting(mill.engine).problem)
    assert outbox.waiting(mill.engine).problem == "no queue is bound to clockmill.events for app.told"


@on_sqlite
def test_a_handler_that_hangs_is_set_aside_and_its_process_asks_to_be_replaced(mill):
    with working(mill) as office:
        put(mill, event("app.slow.go", id="hangs"))
        eventually(lambda: office.ended == [75])
    (letter,) = dead(mill)
    assert (letter.id, letter.reason) == ("hangs", "it was not handled within 0.3 s")


@on_sqlite
def test_a_careful_process_handles_as_much(mill):
    with working(mill, careful=True) as office:
        put(mill, *(event(n=n) for n in range(10)))
        eventually(lambda: sorted(notes(mill)) == list(range(10)))
        office.consumer.careful_until = 0.001
        put(mill, *(event(n=n) for n in range(10, 20)))
        eventually(lambda: sorted(notes(mill)) == list(range(20)))
        eventually(lambda: office.consumer.careful_until == 0.0)


def deliver_in_vain(mill, queue, times):
    """As a consumer does that dies with the message in its hands."""
    for _ in range(times):
        with opened(mill.config.table("broker")["url"], "test") as made:
            found, channel = [], made.channel()
            channel.basic_consume(queue, callback=found.append)
            while not found:
                made.drain_events(timeout=10)


@on_sqlite
def test_what_has_outlived_two_processes_goes_round_and_lets_others_pass(mill):
    with working(mill):
        pass
    put(mill, event(n=1, id="suspect"))
    deliver_in_vain(mill, "clockmill.on.count", 2)
    put(mill, event(n=2))
    with working(mill, careful=True) as office:
        eventually(lambda: notes(mill) == [2, 1])
        (post,) = [one for one in office.desk.posts if one.queue == "clockmill.on.count"]
    assert post.flow.failed == 1


@on_sqlite
def test_in_order_it_is_set_aside_when_it_has_outlived_too_many(mill):
    with working(mill):
        pass
    put(mill, event("app.note.made", thing="a", n=1, id="killer"))
    deliver_in_vain(mill, "clockmill.on.note", 6)
    put(mill, event("app.note.made", thing="a", n=2))
    with working(mill, careful=True):
        eventually(lambda: notes(mill, "a") == [2])
    (letter,) = dead(mill)
    assert (letter.id, letter.reason) == ("killer", "its process died or lost its connection 6 times")


@on_sqlite
def test_a_connection_that_is_killed_loses_nothing(mill, office):
    put(mill, *(event("app.note.made", thing=n % 5, n=n) for n in range(100)))
    for _ in range(3):
        assert office.consumer.connected.wait(10)
        cut = office.consumer._connection
        cut.connection.transport.sock.shutdown(2)
        eventually(lambda cut=cut: office.consumer._connection is not cut)
    eventually(lambda: sum(len(notes(mill, str(thing))) for thing in range(5)) == 100)
    for thing in range(5):
        assert notes(mill, str(thing)) == [n for n in range(100) if n % 5 == thing]


@on_sqlite
def test_a_channel_that_the_broker_closes_in_the_middle_loses_nothing(mill, office):
    put(mill, *(event("app.note.made", thing=n % 5, n=n) for n in range(100)))
    (channel,) = (one for post, one in office.consumer._channels.items() if post.spec.name == "note")
    # It closes a channel over which a message is answered for that it has never delivered.
    channel.basic_ack(10**6)
    eventually(lambda: office.consumer._channels and channel not in office.consumer._channels.values())
    put(mill, event(n=1))
    eventually(lambda: notes(mill) == [1])
    eventually(lambda: sum(len(notes(mill, str(thing))) for thing in range(5)) == 100)
    for thing in range(5):
        assert notes(mill, str(thing)) == [n for n in range(100) if n % 5 == thing]


@on_sqlite
def test_a_queue_that_is_deleted_is_declared_again(mill, office):
    with opened(mill.config.table("broker")["url"], "test") as made:
        made.default_channel.queue_delete("clockmill.on.count")
    eventually(lambda: not office.consumer.connected.is_set())
    assert office.consumer.connected.wait(20)
    put(mill, event(n=1))
    eventually(lambda: notes(mill) == [1])


@on_sqlite
def test_a_type_that_a_handler_no_longer_names_is_unbound(mill, broker_url):
    with opened(broker_url, "test") as made:
        declare(made, t.topology([("count", ["app.count.*", "app.sum.*"], False)]))
    bindings.note(mill.engine, {("clockmill.on.count", "app.count.*"), ("clockmill.on.count", "app.sum.*")})
    with working(mill):
        publisher = Publisher(broker_url, "test")
        answers = publisher.send(
            [Letter(event(f"app.{word}.up", n=1), t.EVENTS, f"app.{word}.up") for word in ("sum", "count")]
        )
        publisher.close()
    assert answers == ["no queue is bound to clockmill.events for app.sum.up", ""]
    assert bindings.note(mill.engine, {("clockmill.on.count", "app.count.*")}) == set()


@on_sqlite
def test_what_is_broadcast_is_heard(mill):
    heard = []
    assert not shout(mill, "reload")
    with working(mill, say=heard.append):
        assert shout(mill, "cancel", 17)
        eventually(lambda: {"broadcast": "cancel 17"} in heard)


@on_sqlite
def test_a_broker_that_is_away_at_the_start_is_waited_for_and_named_without_its_password(mill):
    url = "amqp://guest:s3cret@127.0.0.1:9"
    said = []
    lonely = Mill(config.merge(mill.config.home, None, {**mill.config.tables, "broker": {"url": url}}, {}))
    office = Office(lonely, say=said.append)
    thread = threading.Thread(target=office.run)
    thread.start()
    eventually(lambda: said)
    office.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert "amqp://guest:***@127.0.0.1:9" in said[0]["problem"]
    assert "s3cret" not in json.dumps(said)
    lonely.engine.dispose()
