"""The daemon's hands: who is claimed, who waits, and what happens when nothing can be started."""

import threading

import pytest
from sqlalchemy import update

from clockmill import config
from clockmill.doors import manual_run
from clockmill.errors import ClockmillError
from clockmill.executors import Exit
from clockmill.mill import Mill
from clockmill.slots import micros
from db.engine import write
from db.run import Ending, Terms
from db.tables import runs
from scheduler import Scheduler


class Hands:
    """Executors that do nothing until they are let go; `begun` says which jobs they were given."""

    def __init__(self):
        self.begun, self.go, self.living = [], threading.Event(), True

    def run(self, executor, order, tell):
        self.begun.append(order.job)
        self.go.wait(20)
        return Exit("exit", code=0)

    def end(self, order, at_once):
        self.go.set()

    def alive(self):
        return self.living

    def close(self):
        self.go.set()


@pytest.fixture
def mill(database_url, tmp_path):
    jobs = {
        "queues": {"command": ["true"], "overlap": "queue_all", "priority": 5},
        "free": {"command": ["true"], "overlap": "allow"},
    }
    tables = {"database": {"url": database_url}, "redis": {"url": "none"}, "jobs": jobs}
    held = Mill(config.merge(tmp_path, None, tables, {}))
    yield held
    held.engine.dispose()


@pytest.fixture
def hands():
    held = Hands()
    yield held
    held.go.set()


@pytest.fixture
def scheduler(mill, hands):
    held = Scheduler(mill, hands, workers=2)
    yield held
    hands.go.set()
    held.workers.close()


def ask(mill, name, times=1):
    spec = mill.registry.get(name)
    for _ in range(times):
        manual_run(mill, spec, {}, forced=False, now=mill.now(), reserved=False)


def eventually_begun(hands, names):
    for _ in range(1000):
        if sorted(hands.begun) == names:
            return True
        threading.Event().wait(0.01)
    return False


def test_runs_that_wait_for_one_of_their_job_hide_no_other_job(mill, hands, scheduler):
    ask(mill, "queues", times=20)
    ask(mill, "free")
    scheduler.dispatch()
    assert eventually_begun(hands, ["free", "queues"])


def test_a_retry_that_later_runs_of_its_job_wait_for_is_found_behind_them(mill, hands, scheduler):
    ask(mill, "queues", times=3)
    ledger, now = mill.ledger, micros(mill.now())
    (first, *others) = sorted(ledger.runs(), key=lambda run: run.run_id)
    claim = ledger.claim(first.run_id, Terms(overlap="queue_all"), now)
    ledger.finish(claim, Ending("retry_wait", "once more", due_us=now, attempt="failed"), now)
    with write(mill.engine) as connection:
        # Ahead of the retry, by their priority and by their time.
        ids = [run.run_id for run in others]
        connection.execute(update(runs).where(runs.c.run_id.in_(ids)).values(priority=5, due_us=now - 1_000_000))
    scheduler.dispatch()
    assert eventually_begun(hands, ["queues"])
    assert ledger.run(first.run_id).state == "running"


def test_no_more_runs_begin_than_there_are_workers(mill, hands, scheduler):
    ask(mill, "free", times=5)
    scheduler.dispatch()
    scheduler.dispatch()
    assert eventually_begun(hands, ["free", "free"])
    assert scheduler.workers.busy == 2


def test_a_worker_that_is_free_again_takes_the_next_run(mill, hands, scheduler):
    ask(mill, "queues", times=3)
    hands.go.set()
    scheduler.dispatch()
    assert eventually_begun(hands, ["queues"] * 3)


def test_without_a_warm_parent_no_run_is_spent(mill, hands, scheduler):
    ask(mill, "free")
    hands.living = False
    scheduler.dispatch()
    assert [run.state for run in mill.ledger.runs()] == ["queued"]
    assert hands.begun == []


def test_a_scheduler_whose_warm_parent_was_killed_stops_and_says_so(hands, scheduler):
    hands.living = False
    with pytest.raises(ClockmillError, match="the process that starts jobs was killed"):
        scheduler.run()
