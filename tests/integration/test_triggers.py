"""Runs that messages ask for: by an event, by several, by an application through the broker."""

import json
import threading
import time
import uuid
from datetime import timedelta

import pytest

from clockmill import client, config, doors
from clockmill.bodies import executors_of
from clockmill.cli.group import main
from clockmill.exchange import topology as t
from clockmill.exchange.cloudevents import new_event, read_event
from clockmill.exchange.handling import Group
from clockmill.exchange.office import Office
from clockmill.exchange.patterns import matches
from clockmill.exchange.plan import posts_of
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.triggers import slot_keys
from clockmill.mill import Mill
from clockmill.runner import Runner
from db.triggers import events_of

JOBS = """
from clockmill import Context, job


@job(on="app.order.*", params={"order_id": 0})
def bill(ctx: Context) -> None:
    ctx.log(f"order {ctx.params['order_id']}: {[event.type for event in ctx.events]}")


@job(on=["app.page.viewed"], debounce="10s", batch=3)
def recount(ctx: Context) -> None:
    ctx.log(f"pages {[event.data['page'] for event in ctx.events]}")
"""


@pytest.fixture
def make_mill(database_url, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "mine.py").write_text(JOBS)

    def make(url="", **jobs):
        tables = {
            "database": {"url": database_url},
            "redis": {"url": "none"},
            "scheduler": {"job_folders": ["jobs"]},
            "broker": {"url": url},
            "jobs": jobs,
        }
        return Mill(config.merge(tmp_path, None, tables, {}))

    return make


@pytest.fixture
def mill(make_mill):
    return make_mill()


def happen(mill, type, id=None, source="/test", **data):
    event = read_event(
        json.dumps({"specversion": "1.0", "id": id or uuid.uuid4().hex, "source": source, "type": type, "data": data}),
        10_000,
    )
    (spec,) = [one.spec for one in posts_of(mill) if any(matches(pattern, type) for pattern in one.spec.patterns)]
    (result,) = Group(mill, spec, [event]).handle()
    return result


def runs(mill, job):
    return sorted(mill.ledger.runs(job, limit=100), key=lambda run: run.run_id)


def events(mill, run):
    return [json.loads(body)["data"] for body in events_of(mill.engine, run.run_id)]


def test_an_event_is_a_run_with_its_id_and_its_data_as_parameters(mill):
    assert happen(mill, "app.order.placed", id="o-1", order_id=7).state == "done"
    (run,) = runs(mill, "bill")
    assert (run.slot_key, run.trigger, run.state, run.params_json) == ("e:o-1", "event", "queued", '{"order_id": 7}')
    assert events(mill, run) == [{"order_id": 7}]


def test_an_event_that_comes_again_is_no_further_run(mill):
    happen(mill, "app.order.placed", id="o-1", order_id=7)
    assert happen(mill, "app.order.placed", id="o-1", order_id=7).state == "seen"
    assert len(runs(mill, "bill")) == 1


def test_the_same_id_of_another_source_is_another_event(mill):
    happen(mill, "app.order.placed", id="o-1", order_id=7)
    happen(mill, "app.order.placed", id="o-1", source="/other", order_id=8)
    assert [json.loads(run.params_json)["order_id"] for run in runs(mill, "bill")] == [7, 8]


def test_data_that_is_no_parameter_of_the_job_is_refused(mill):
    result = happen(mill, "app.order.placed", order_id="seven")
    assert result.state == "refused"
    assert "params.order_id = 'seven': expected a whole number" in result.reason
    assert runs(mill, "bill") == []


def test_events_share_a_run_that_has_not_begun_until_it_is_full(mill):
    for page in range(4):
        happen(mill, "app.page.viewed", page=page)
    first, second = runs(mill, "recount")
    assert [event["page"] for event in events(mill, first)] == [0, 1, 2]
    assert [event["page"] for event in events(mill, second)] == [3]
    now = mill.now()
    assert first.due_us <= now.timestamp() * 1e6 + 1e6
    assert second.due_us > (now + timedelta(seconds=5)).timestamp() * 1e6


def test_each_further_event_puts_the_run_off_but_not_for_ever(mill):
    happen(mill, "app.page.viewed", page=1)
    (run,) = runs(mill, "recount")
    happen(mill, "app.page.viewed", page=2)
    (later,) = runs(mill, "recount")
    assert run.due_us < later.due_us <= run.created_us + 100 * 10**6


def test_a_triggered_run_reads_its_events_and_so_does_the_run_that_does_it_again(make_mill):
    # Its processes inherit no connection.
    executors = executors_of(make_mill())
    mill = make_mill()
    happen(mill, "app.order.placed", order_id=7)
    try:
        runner, spec = Runner(mill, executors), mill.registry.get("bill")
        (run,) = runs(mill, "bill")
        ended = doors.stay(runner, run.run_id, spec).run
        again = doors.stay(runner, doors.retry_run(mill, spec, ended, mill.now()).run_id, spec).run
    finally:
        executors.close()
    for one in (ended, again):
        assert one.state == "succeeded"
        assert mill.log_path(f"{one.run_id}.1.log").read_text() == "order 7: ['app.order.placed']\n"


def test_a_command_that_events_trigger_reads_them_a_line_each(make_mill):
    shout = {"command": ["cat"], "on": "app.shout"}
    executors = executors_of(make_mill(shout=shout))
    mill = make_mill(shout=shout)
    happen(mill, "app.shout", words="hey")
    try:
        (run,) = runs(mill, "shout")
        ended = doors.stay(Runner(mill, executors), run.run_id, mill.registry.get("shout")).run
    finally:
        executors.close()
    assert ended.state == "succeeded"
    assert json.loads(mill.log_path(f"{ended.run_id}.1.log").read_text())["data"] == {"words": "hey"}


def test_runs_of_events_wait_for_each_other_instead_of_being_skipped(mill):
    assert mill.registry.get("bill").overlap == "queue_all"


def test_an_id_too_long_for_a_key_stands_there_as_its_hash():
    long = read_event(
        json.dumps({"specversion": "1.0", "id": "x" * 500, "source": "/s", "type": "a", "data": {}}), 9999
    )
    assert all(len(key) < 100 for key in slot_keys(long))


# -- through the broker

on_sqlite = pytest.mark.parametrize("upgraded", ["sqlite"], indirect=True)


@pytest.fixture
def office(make_mill, broker_url):
    office = Office(make_mill(broker_url))
    thread = threading.Thread(target=office.run)
    thread.start()
    assert office.consumer.connected.wait(20)
    yield office
    office.stop()
    thread.join(20)
    assert not thread.is_alive()


def eventually(fact, limit_s=20.0):
    deadline = time.monotonic() + limit_s
    while not (found := fact()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
    return found


@on_sqlite
def test_an_event_from_anywhere_triggers_a_job(office, broker_url):
    body = new_event("app.order.placed", {"order_id": 3}, "/shop", office.mill.now()).to_json()
    publisher = Publisher(broker_url, "test")
    assert publisher.send([Letter(body, t.EVENTS, "app.order.placed")]) == [""]
    publisher.close()
    (run,) = eventually(lambda: runs(office.mill, "bill"))
    assert json.loads(run.params_json) == {"order_id": 3}


@on_sqlite
def test_an_application_asks_for_a_run_through_the_broker(office, monkeypatch):
    monkeypatch.setattr(client, "_mill", lambda: office.mill)
    run = client.send("bill", order_id=5)
    eventually(lambda: run.state == "queued")
    row = office.mill.ledger.run(run.run_id)
    assert (row.trigger, row.params_json, row.reserved_for) == ("manual", '{"order_id": 5}', None)
    assert run.progress is None


@on_sqlite
def test_an_application_asks_the_ledger_when_the_broker_is_away(make_mill, monkeypatch):
    mill = make_mill("amqp://127.0.0.1:9")
    monkeypatch.setattr(client, "_mill", lambda: mill)
    assert client.send("bill", order_id=5).state == "queued"


@on_sqlite
def test_a_request_for_an_unknown_job_is_set_aside(office, broker_url):
    from clockmill.exchange.dead_letters import listed

    body = new_event("clockmill.run.requested", {"job": "bil", "params": {}}, "/x", office.mill.now()).to_json()
    publisher = Publisher(broker_url, "test")
    publisher.send([Letter(body, t.COMMANDS, t.REQUESTS)])
    publisher.close()
    (letter,) = eventually(lambda: listed(broker_url, 5))
    assert 'no job "bil"; did you mean "bill"?' in letter.reason


@on_sqlite
def test_the_queues_are_told_with_their_rates(office, broker_url, monkeypatch, tmp_path):
    from click.testing import CliRunner

    office.flows.note()
    put = Publisher(broker_url, "test")
    now = office.mill.now()
    put.send(
        [
            Letter(new_event("app.order.placed", {}, "/x", now).to_json(), t.EVENTS, "app.order.placed")
            for _ in range(20)
        ]
    )
    put.close()
    eventually(lambda: len(runs(office.mill, "bill")) == 20)
    eventually(lambda: post_of(office, "clockmill.job.bill").flow.done == 20)
    office.flows.note()
    monkeypatch.setattr("clockmill.cli.queues.mill", lambda: office.mill)
    answer = CliRunner().invoke(main, ["queues", "--json"])
    assert answer.exit_code == 0, answer.output
    found = {one["queue"]: one for one in json.loads(answer.output)["queues"]}
    triggers = found["clockmill.job.bill"]
    assert (triggers["depth"], triggers["drain_s"], triggers["dead"]) == (0, 0.0, 0)
    assert triggers["rate_out"] > 0
    assert triggers["hands_needed"] > 0
    assert found["runs of pool default"]["depth"] == 20
    assert found["outbox"]["depth"] == 0
    assert "clockmill.job.bill" in CliRunner().invoke(main, ["queues"]).output


def post_of(office, queue):
    return next(post for post in office.desk.posts if post.queue == queue)
