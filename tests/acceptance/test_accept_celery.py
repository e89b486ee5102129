"""Runs that Celery brings to workers, with the installed command and a real RabbitMQ: once, whoever dies."""

import json
import os
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from clockmill.exchange.broker import opened
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.run_messages import letter_of
from clockmill.mill import Mill

JOBS = """
import time
from pathlib import Path
from clockmill import Context, job


@job(executor="celery", params={"until": ""}, overlap="allow", timeout="5m", on_lost="rerun")
def work(ctx: Context) -> None:
    ctx.progress(0.25, "begun")
    ctx.log("begun")
    while ctx.params["until"] and not Path(ctx.params["until"]).exists():
        time.sleep(0.05)
    ctx.emit("app.work.done", {"run": ctx.run_id}, key=1)


@job(executor="celery", priority=5)
def urgent(ctx: Context) -> None:
    pass


@job(executor="celery", needs=["gpu"], timeout="31m", pool="heavy")
def drawn(ctx: Context) -> None:
    pass
"""
SETTINGS = """
[broker]
url = "{}"
labels = ["gpu"]
[scheduler]
job_folders = ["jobs"]
[pools]
heavy = 1
"""


@pytest.fixture
def shop(clockmill, broker_url):
    """A home with a broker and a clock that has no hands."""
    clockmill.write("jobs/shop.py", JOBS)
    clockmill.configure(SETTINGS.format(broker_url))
    clockmill.daemon("--workers", 0)
    return clockmill


def worker(home, *options):
    """A worker that consumes."""
    one = home.start("worker", "--concurrency", 2, *options)
    home.wait_until(lambda: "working f" in one.err.read_text() or one.process.poll() is not None)
    assert one.process.poll() is None, one.err.read_text()
    return one


def send(home, job, **params):
    """Asks for a run as an application does; its row in the ledger."""
    before = len(home.runs(job))
    words = "import sys, json; from clockmill import client; client.send(sys.argv[1], **json.loads(sys.argv[2]))"
    home.execute(home.binaries / "python", "-c", words, job, json.dumps(params)).end()
    home.wait_until(lambda: len(home.runs(job)) > before)
    return home.runs(job)[0]["run_id"]


def state(home, run_id):
    return home.query("SELECT state FROM runs WHERE run_id = ?", run_id)[0]["state"]


def attempts(home, run_id):
    rows = home.query("SELECT state FROM attempts WHERE run_id = ? ORDER BY attempt", run_id)
    return [row["state"] for row in rows]


def told(home):
    """The runs whose transaction has told that they are done."""
    return [json.loads(row["body"])["data"]["run"] for row in home.query("SELECT body FROM outbox")]


def process_of(home, run_id):
    """The pid of the run's present attempt, as soon as it is known."""
    of_run = "SELECT pid FROM attempts WHERE run_id = ? AND state = 'running' AND pid IS NOT NULL"
    return home.wait_until(lambda: next((row["pid"] for row in home.query(of_run, run_id)), None))


def send_again(home, broker_url, run_id, monkeypatch):
    """Messages that ask for a run once more."""
    monkeypatch.setenv("CLOCKMILL_HOME", str(home.folder))
    mill = Mill.open()
    letter = letter_of(mill, mill.registry.get("work"), run_id)
    publisher = Publisher(broker_url, "tests")
    assert publisher.send([letter, letter]) == ["", ""]
    publisher.close()


def test_a_run_through_celery_happens_once_however_often_its_message_comes(shop, broker_url, monkeypatch):
    one = worker(shop)
    go = shop.folder / "go"
    run = send(shop, "work", until=str(go))
    process_of(shop, run)
    send_again(shop, broker_url, run, monkeypatch)
    shop.wait_until(lambda: one.err.read_text().count(f"run {run}: work: taken") == 2)
    go.touch()
    shop.wait_until(lambda: state(shop, run) == "succeeded")
    send_again(shop, broker_url, run, monkeypatch)
    shop.wait_until(lambda: one.err.read_text().count(f"run {run}: work: done") == 2)
    assert (attempts(shop, run), told(shop)) == (["succeeded"], [run])
    one.send(signal.SIGTERM)
    one.end()


def test_a_run_finishes_once_though_its_keeper_and_then_its_worker_are_killed(shop):
    first, go = worker(shop), shop.folder / "go"
    run = send(shop, "work", until=str(go))
    job = process_of(shop, run)
    os.kill(parent_of(job), signal.SIGKILL)
    # The keeper's death is a lost attempt; the run's next message comes by itself.
    shop.wait_until(lambda: len(attempts(shop, run)) == 2 and not alive(job))
    job = process_of(shop, run)
    first.send(signal.SIGKILL)
    shop.wait_until(lambda: not alive(job))
    second = worker(shop)
    end_lease(shop, run)
    shop.wait_until(lambda: len(attempts(shop, run)) == 3)
    go.touch()
    shop.wait_until(lambda: state(shop, run) == "succeeded")
    assert (attempts(shop, run), told(shop)) == (["lost", "lost", "succeeded"], [run])
    second.send(signal.SIGTERM)
    second.end()


def test_a_cancelled_run_is_ended_at_its_worker_or_never_begun(shop):
    waiting = send(shop, "work")
    shop("runs", "cancel", waiting)
    one = worker(shop)
    running = send(shop, "work", until="/nowhere/at/all")
    job = process_of(shop, running)
    shop("runs", "cancel", running)
    shop.wait_until(lambda: state(shop, running) == "cancelled")
    assert not alive(job)
    assert (attempts(shop, waiting), state(shop, waiting)) == ([], "cancelled")
    one.send(signal.SIGTERM)
    one.end()


def test_a_run_waits_for_a_worker_that_offers_what_it_needs(shop):
    plain = worker(shop)
    run = send(shop, "drawn")
    shop.wait_until(lambda: "clockmill.unroutable" in shop("doctor", code=(0, 1)).out)
    assert attempts(shop, run) == []
    able = worker(shop, "--pool", "heavy", "--offers", "gpu=1")
    shop.wait_until(lambda: state(shop, run) == "succeeded")
    for one in (plain, able):
        one.send(signal.SIGTERM)
        one.end()


def test_progress_is_shown_to_whoever_asks_celery(shop, broker_url, redis_url, monkeypatch):
    from celery import Celery

    shop.configure(SETTINGS.format(broker_url), redis=redis_url)
    one, go = worker(shop), shop.folder / "go"
    run = send(shop, "work", until=str(go))
    app = Celery(backend="redis+socket://" + redis_url.removeprefix("unix://"), set_as_current=False)
    result = app.AsyncResult(f"clockmill-app-{run}")
    shop.wait_until(lambda: result.state == "PROGRESS")
    assert result.info == {"run_id": run, "job": "work", "progress": 0.25, "note": "begun"}
    go.touch()
    shop.wait_until(lambda: result.state == "SUCCESS")
    one.send(signal.SIGTERM)
    one.end()


def test_a_queue_that_is_away_holds_up_no_other_and_is_consumed_when_it_is_back(shop, broker_url):
    one = worker(shop)
    with opened(broker_url, "tests") as made:
        made.default_channel.queue_delete("clockmill.pool.default.priority")
    shop.wait_until(lambda: "clockmill.pool.default.priority is away" in one.err.read_text())
    urgent, work = send(shop, "urgent"), send(shop, "work")
    shop.wait_until(lambda: state(shop, work) == "succeeded")
    assert attempts(shop, urgent) == []
    shop("broker", "declare")
    shop.wait_until(lambda: state(shop, urgent) == "succeeded")
    one.send(signal.SIGTERM)
    one.end()


def forge(broker_url, *letters):
    """Messages of a stranger in the queue of the default pool."""
    publisher = Publisher(broker_url, "tests")
    assert not any(publisher.send(letters))
    publisher.close()


def test_forged_messages_neither_start_a_run_nor_stop_a_worker(shop, broker_url):
    one = worker(shop)
    ended = send(shop, "work")
    shop.wait_until(lambda: state(shop, ended) == "succeeded")
    pool = ("", "clockmill.pool.default")
    headers = {"lang": "py", "task": "clockmill.run", "id": "forged", "root_id": "forged"}
    unknown = [10**30, -1, 0, 1.5, True, None, "1; DROP TABLE runs", [ended], {"run_id": ended}]
    forge(
        broker_url,
        Letter(b"\x80\x04N.", *pool, headers=headers, content_type="application/x-python-serialize"),
        Letter("{", *pool, headers=headers, content_type="application/json"),
        Letter("[]", *pool, content_type="application/json"),
        Letter("[[1], {}, {}]", *pool, headers={**headers, "task": "os.system"}, content_type="application/json"),
        Letter("[[], {}, {}]", *pool, headers=headers, content_type="application/json"),
        Letter('[[1], {"more": 1}, {}]', *pool, headers=headers, content_type="application/json"),
        *(
            Letter(json.dumps([[id], {}, {}]), *pool, headers=headers, content_type="application/json")
            for id in unknown
        ),
    )
    run = send(shop, "work")
    shop.wait_until(lambda: state(shop, run) == "succeeded")
    assert (attempts(shop, ended), told(shop)) == (["succeeded"], [ended, run])
    one.send(signal.SIGTERM)
    logged = one.end().err
    for reason in ("its body cannot be read", "no task 'os.system'", "it names no task"):
        assert f"bytes is set aside: {reason}" in logged
    # What can be read is answered for: the ledger knows no such run, or that it is done.
    assert logged.count("no such run") == len(unknown) + 1
    assert f"run {ended}: work: done" in logged
    assert len(shop("events", "dead-letters", "list", "--json").json["dead_letters"]) == 4


def test_a_worker_without_a_broker_runs_its_pools_from_the_ledger(clockmill):
    clockmill.write("jobs/shop.py", JOBS)
    clockmill.configure(SETTINGS.format(""))
    clockmill.daemon("--workers", 0)
    one = worker(clockmill, "--pool", "default")
    drawn, work = send(clockmill, "drawn"), send(clockmill, "work")
    clockmill.wait_until(lambda: state(clockmill, work) == "succeeded")
    assert state(clockmill, drawn) == "queued"
    one.send(signal.SIGTERM)
    one.end()


def parent_of(pid):
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def alive(pid):
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def end_lease(home, run_id):
    """As when half a minute has passed since the owner's last sign of life."""
    with closing(sqlite3.connect(home.database, timeout=15)) as connection, connection:
        connection.execute("UPDATE runs SET lease_us = 1 WHERE run_id = ?", (run_id,))
