"""Events out: committed with what they tell of, sent when the broker is there, marked when it has answered."""

import json
from datetime import timedelta

import pytest

from clockmill import config, doors
from clockmill.bodies import executors_of
from clockmill.errors import BrokerUnavailable
from clockmill.exchange import topology as t
from clockmill.exchange.broker import opened
from clockmill.exchange.declaring import declare
from clockmill.exchange.outgoing import tell
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.relay import Relay
from clockmill.mill import Mill
from clockmill.runner import Runner
from clockmill.slots import micros
from db import outbox

JOBS = """
from clockmill import Context, JobError, Output, job

GRAIN = Output("grain", key="mill", columns={"mill": "id", "weight": "float"})


@job(params={"how": "well"}, outputs=[GRAIN])
def teller(ctx: Context) -> None:
    if ctx.params["how"] == "publish":
        ctx.publish("grain", {"mill": [1], "weight": [0.5]})
        return
    ctx.emit("app.ground", {"sacks": 3}, key="mill 1")
    if ctx.params["how"] == "fail":
        raise JobError("the stone broke")
"""


on_sqlite = pytest.mark.parametrize("upgraded", ["sqlite"], indirect=True)


@pytest.fixture
def make_mill(database_url, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "teller.py").write_text(JOBS)

    def make(url):
        tables = {
            "database": {"url": database_url},
            "redis": {"url": "none"},
            "scheduler": {"job_folders": ["jobs"]},
            "broker": {"url": url},
        }
        return Mill(config.merge(tmp_path, None, tables, {}))

    return make


@pytest.fixture
def mill(make_mill, broker_url):
    with opened(broker_url, "test") as made:
        declare(made, t.topology([("note", ["app.#"], False)]))
    return make_mill(broker_url)


@pytest.fixture
def relay(mill):
    relay = Relay(mill, Publisher(mill.config.table("broker")["url"], "test"))
    yield relay
    relay.publisher.close()


def told(mill):
    return [(row.type, json.loads(row.body)["data"], row.kept) for row in outbox.due(mill.engine, micros(mill.now()))]


def emit(mill, type="app.ground", key=None, **data):
    return tell(mill.config, mill.engine, type, data, key, mill.now())


def heard(url, queue="clockmill.on.note"):
    with opened(url, "test") as made:
        channel, found = made.default_channel, []
        while message := channel.basic_get(queue, no_ack=True):
            found.append(message)
        return found


def run(mill, how):
    executors = executors_of(mill)
    try:
        spec = mill.registry.get("teller")
        run_id = doors.manual_run(mill, spec, {"how": how}, forced=False, now=mill.now())
        return doors.stay(Runner(mill, executors), run_id, spec).run
    finally:
        executors.close()


def test_an_event_is_there_when_its_run_has_succeeded(make_mill):
    mill = make_mill("")
    row = run(mill, "well")
    assert (row.state, told(mill)) == ("succeeded", [("app.ground", {"sacks": 3}, 1)])
    (event,) = outbox.due(mill.engine, micros(mill.now()))
    assert (event.run_id, event.fence, event.order_key) == (row.run_id, row.fence, "mill 1")


def test_an_event_of_a_run_that_failed_is_never_told(make_mill):
    mill = make_mill("")
    assert run(mill, "fail").state == "failed"
    assert told(mill) == []


def test_a_publication_is_told_where_there_is_a_broker(make_mill):
    mill = make_mill("amqp://127.0.0.1:9")
    run(mill, "publish")
    data = {"output": "grain", "version": 1, "rows": 1, "changed": 1}
    assert told(mill) == [("clockmill.output.published.grain", data, 0)]
    without = make_mill("")
    run(without, "publish")
    assert len(told(without)) == 1


def test_what_is_due_is_sent_as_a_cloudevent_and_marked(mill, relay, broker_url):
    event = emit(mill, key="7", sacks=3)
    assert relay.turn() == 1
    assert told(mill) == []
    (message,) = heard(broker_url)
    assert json.loads(message.body)["id"] == event.id
    assert message.properties["message_id"] == event.id
    assert message.properties["content_type"] == "application/cloudevents+json"
    assert message.properties["delivery_mode"] == 2
    assert relay.turn() == 0


def test_events_of_a_key_arrive_in_the_order_they_were_told(mill, relay, broker_url):
    for n in range(40):
        emit(mill, key=f"k{n % 3}", n=n)
    while relay.turn():
        pass
    came = [json.loads(message.body) for message in heard(broker_url)]
    for key in ("k0", "k1", "k2"):
        of_key = [event["data"]["n"] for event in came if event["partitionkey"] == key]
        assert of_key == [n for n in range(40) if f"k{n % 3}" == key]


def test_what_nobody_wants_stays_with_the_reason_and_goes_when_somebody_does(mill, relay, broker_url):
    emit(mill, "shop.sold", n=1)
    assert relay.turn() == 0
    waits = outbox.waiting(mill.engine)
    assert (waits.count, waits.problem) == (1, "no queue is bound to clockmill.events for shop.sold")
    assert relay.problem == waits.problem
    with opened(broker_url, "test") as made:
        declare(made, t.topology([("stern", ["shop.*"], False)]))
    outbox.hurry(mill.engine, micros(mill.now()))
    assert relay.turn() == 1
    assert len(heard(broker_url, "clockmill.on.stern")) == 1


def test_later_events_of_a_key_wait_for_one_that_waits(mill, relay, broker_url):
    emit(mill, "shop.sold", key="7", n=1)
    relay.turn()
    emit(mill, "app.ground", key="7", n=2)
    emit(mill, "app.ground", key="8", n=3)
    relay.turn()
    assert [json.loads(message.body)["data"]["n"] for message in heard(broker_url)] == [3]


@on_sqlite
def test_what_clockmill_tells_of_itself_may_pass_unheard(mill, relay):
    run(mill, "publish")
    assert relay.turn() == 1
    assert outbox.waiting(mill.engine).count == 0


@on_sqlite
def test_a_broker_that_is_away_loses_nothing(make_mill):
    mill = make_mill("amqp://127.0.0.1:9")
    emit(mill, n=1)
    with pytest.raises(BrokerUnavailable):
        Relay(mill, Publisher("amqp://127.0.0.1:9", "test")).turn()
    assert outbox.waiting(mill.engine).count == 1


def test_events_that_were_sent_are_pruned_and_others_are_not(mill, relay):
    emit(mill, n=1)
    relay.turn()
    emit(mill, "shop.sold", n=2)
    relay.turn()
    assert outbox.prune(mill.engine, micros(mill.now() + timedelta(hours=1))) == 1
    assert outbox.waiting(mill.engine).count == 1


def test_a_batch_has_as_many_bytes_as_it_may_and_one_event_at_least(make_mill, monkeypatch):
    mill = make_mill("")
    for n in range(3):
        emit(mill, n=n, text="x" * 1000)
    monkeypatch.setattr(outbox, "BATCH_BYTES", 2500)
    assert len(outbox.due(mill.engine, micros(mill.now()))) == 2
    monkeypatch.setattr(outbox, "BATCH_BYTES", 10)
    assert len(outbox.due(mill.engine, micros(mill.now()))) == 1


@on_sqlite
def test_a_connection_that_breaks_is_opened_anew(mill, relay, broker_url):
    emit(mill, n=1)
    relay.turn()
    relay.publisher._connection.connection.transport.sock.close()
    emit(mill, n=2)
    with pytest.raises(BrokerUnavailable):
        relay.turn()
    assert relay.turn() == 1
    assert len(heard(broker_url)) == 2


@on_sqlite
def test_a_channel_that_the_broker_closes_in_the_middle_loses_nothing(mill, relay, broker_url):
    # It closes a channel over which something is sent to an exchange that is not there.
    with opened(broker_url, "test") as made:
        made.default_channel.exchange_delete(t.EVENTS)
    emit(mill, n=1)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match=r"no exchange 'clockmill\.events'"):
            relay.turn()
    with opened(broker_url, "test") as made:
        declare(made, t.topology([("note", ["app.#"], False)]))
    assert relay.turn() == 1
    assert len(heard(broker_url)) == 1


@on_sqlite
def test_an_event_whose_type_has_255_bytes_is_sent(mill, relay, broker_url):
    emit(mill, "app." + "x" * 251, n=1)
    assert relay.turn() == 1
    (message,) = heard(broker_url)
    assert len(message.delivery_info["routing_key"]) == 255


@on_sqlite
def test_an_answer_belongs_to_its_letter(mill, broker_url):
    publisher = Publisher(broker_url, "test")
    letters = [Letter(b"{}", t.EVENTS, key) for key in ("app.x", "nobody.x", "app.y")]
    answers = publisher.send(letters)
    publisher.close()
    assert answers == ["", "no queue is bound to clockmill.events for nobody.x", ""]


@on_sqlite
def test_a_connection_that_was_idle_is_kept_alive(mill, relay):
    emit(mill, n=1)
    relay.turn()
    kept = relay.publisher._connection
    for _ in range(3):
        relay.publisher.beat()
    emit(mill, n=2)
    assert relay.turn() == 1
    assert relay.publisher._connection is kept


@on_sqlite
def test_a_connection_that_the_broker_has_closed_meanwhile_is_noticed_before_the_next_event(mill, relay):
    emit(mill, n=1)
    relay.turn()
    relay.publisher._connection.connection.transport.sock.shutdown(2)
    relay.publisher.beat()
    emit(mill, n=2)
    assert relay.turn() == 1
