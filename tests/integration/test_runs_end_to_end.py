"""Runs from the door to the ledger, on each of the three databases: a real process, a real ending."""

import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from clockmill import config, doors, leases
from clockmill.bodies import executors_of
from clockmill.errors import ConfigError, UsageError
from clockmill.executors import keeper
from clockmill.housekeeping import House
from clockmill.mill import Mill
from clockmill.report import report_of
from clockmill.runner import Runner
from clockmill.slots import instant, micros
from db.engine import read, write
from db.errors import DatabaseUnavailable

JOBS = """
import os, signal, sys, time
from clockmill import Context, JobError, Output, job
from db.errors import LedgerAway

GRAIN = Output("grain", key="mill", item="sack", score="weight",
               columns={"mill": "id", "sack": "int", "weight": "float"}, redis="json")


@job(params={"how": "grind"}, timeout="20s", outputs=[GRAIN], backoff="50ms")
def tiny(ctx: Context) -> None:
    ctx.log(f"attempt {ctx.attempt} begins")
    if ctx.params["how"] == "refuse":
        raise JobError("the sacks are empty; fill them")
    if ctx.params["how"] == "stumble" and ctx.attempt == 1:
        raise ValueError("a stone\\0 \\ud800")
    if ctx.params["how"] == "leave":
        sys.exit("gone home")
    if ctx.params["how"] == "vanish":
        os._exit(0)
    if ctx.params["how"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if ctx.params["how"] == "lose" and ctx.attempt == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(20)
    if ctx.params["how"] == "unplugged" and ctx.attempt == 1:
        raise LedgerAway("the server went away")
    ctx.progress(0.5, "half")
    ctx.publish("grain", {"mill": [1, 1], "sack": [1, 2], "weight": [0.5, 1.5]})
    if ctx.params["how"] == "drop":
        raise JobError("dropped it")
    if ctx.params["how"] == "wait":
        print("waiting", flush=True)
        time.sleep(20)
"""
NOON = datetime.fromisoformat("2026-03-08T12:00:00+00:00")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(keeper, "GRACE_S", 0.3)
    monkeypatch.setattr(doors, "LOOK_S", 0.02)
    monkeypatch.setattr(leases, "LOOK_S", 0.05)


@pytest.fixture
def settings(database_url, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "tiny.py").write_text(JOBS)
    return {"database": {"url": database_url}, "redis": {"url": "none"}, "scheduler": {"job_folders": ["jobs"]}}


@pytest.fixture
def make_mill(settings, tmp_path):
    made = []

    def make(**tables):
        mill = Mill(config.merge(tmp_path, None, {**settings, **tables}, {}))
        made.append(mill)
        return mill

    yield make
    for mill in made:
        mill.engine.dispose()


@pytest.fixture
def mill(make_mill):
    return make_mill()


@pytest.fixture
def runner(mill):
    executors = executors_of(mill)
    assert "engine" not in mill.__dict__, "the warm parent must be forked before anything is opened"
    yield Runner(mill, executors)
    executors.close()


def ask(runner, how="grind", forced=False, **policies):
    mill = runner.mill
    spec = replace(mill.registry.get("tiny"), **policies)
    return mill.ledger.run(doors.manual_run(mill, spec, {"how": how}, forced=forced, now=mill.now())), spec


def run(runner, how="grind", **policies):
    row, spec = ask(runner, how, **policies)
    return doors.stay(runner, row.run_id, spec).run


def log_of(runner, row, attempt=1):
    return runner.mill.log_path(f"{row.run_id}.{attempt}.log").read_text()


def grain(runner):
    try:
        with read(runner.mill.engine) as connection:
            rows = connection.execute(text("SELECT mill, sack, weight FROM grain_current ORDER BY sack"))
            return [tuple(row) for row in rows]
    except Exception:
        return None


def eventually(fact, limit_s=15.0):
    deadline = time.monotonic() + limit_s
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.01)
    return fact()


def states(runner, row):
    return [attempt.state for attempt in runner.mill.ledger.attempts(row.run_id)]


# -- endings


def test_a_run_that_succeeds_shows_its_output_and_its_report(runner):
    row = run(runner)
    assert (row.state, row.reason, row.exit_code, row.progress) == ("succeeded", None, 0, 1.0)
    assert grain(runner) == [(1, 1, 0.5), (1, 2, 1.5)]
    report = report_of(row)
    assert (report["rows_out"], report["version"]) == (2, 1)
    assert set(report["seconds"]) == {"read", "compile", "compute", "write", "publish", "total"}
    assert log_of(runner, row).startswith("attempt 1 begins\n")


def test_a_job_that_refuses_says_why_without_a_traceback(runner):
    row = run(runner, "refuse")
    assert (row.state, row.reason, row.exit_code) == ("failed", "the sacks are empty; fill them", 1)
    assert log_of(runner, row) == "attempt 1 begins\nerror: the sacks are empty; fill them\n"


def test_a_failed_attempt_is_followed_by_another(runner):
    row = run(runner, "stumble", retries=1)
    assert (row.state, row.attempt) == ("succeeded", 2)
    first, second = runner.mill.ledger.attempts(row.run_id)
    assert (first.state, second.state) == ("failed", "succeeded")
    assert second.started_us - first.ended_us >= 40_000  # 50 ms, a fifth less at most
    assert "Traceback" in log_of(runner, row)


def test_a_reason_that_no_database_takes_is_made_one(runner):
    row = run(runner, "stumble")
    assert (row.state, row.reason) == ("failed", "ValueError: a stone\N{REPLACEMENT CHARACTER} ?")


def test_what_is_published_by_a_failed_attempt_is_never_seen(runner):
    assert run(runner, "drop").reason == "dropped it"
    assert not grain(runner)
    assert run(runner).state == "succeeded"
    assert len(grain(runner)) == 2


def test_a_job_that_exits_is_a_failure_with_its_words(runner):
    assert run(runner, "leave").reason == "SystemExit: gone home"


def test_a_process_that_ends_before_its_job_returned_has_failed(runner):
    row = run(runner, "vanish")
    assert (row.state, row.reason) == ("failed", "its process ended before the job returned")


def test_a_worker_that_is_killed_has_failed_by_that_signal(runner):
    row = run(runner, "die")
    assert (row.state, row.reason, row.signal) == ("failed", "killed by SIGKILL", 9)


def test_an_attempt_whose_keeper_was_killed_is_lost_and_made_again(runner):
    row = run(runner, "lose")
    assert (row.state, row.attempt, row.lost) == ("succeeded", 2, 1)
    assert states(runner, row) == ["lost", "succeeded"]


def test_a_lost_attempt_is_not_made_again_where_that_is_forbidden(runner):
    row = run(runner, "lose", on_lost="fail")
    assert (row.state, row.reason) == ("lost", "its process was lost; on_lost = fail forbids to run it again")


def test_a_run_that_overstays_is_timed_out(runner):
    row = run(runner, "wait", timeout=timedelta(seconds=1.5))
    assert (row.state, row.reason) == ("timed_out", "timed out after 1.5 s")
    assert not grain(runner)


def test_a_thread_job_that_overstays_commits_nothing_later(runner, monkeypatch):
    row = run(runner, "wait", timeout=timedelta(seconds=0.2), executor="thread")
    assert row.state == "timed_out"
    assert not grain(runner)


def test_a_thread_job_succeeds_like_any_other(runner):
    assert run(runner, executor="thread").state == "succeeded"
    assert len(grain(runner)) == 2


def test_a_cancelled_run_ends_as_cancelled(runner):
    row, spec = ask(runner, "wait")
    thread = threading.Thread(target=doors.stay, args=(runner, row.run_id, spec))
    thread.start()
    path = runner.mill.log_path(f"{row.run_id}.1.log")
    assert eventually(lambda: path.exists() and "waiting" in path.read_text())
    runner.mill.ledger.cancel(row.run_id, micros(runner.mill.now()))
    thread.join(15)
    ended = runner.mill.ledger.run(row.run_id)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled by a person")
    assert not grain(runner)


def test_a_run_that_another_process_took_over_is_killed_and_fenced(runner, make_mill):
    row, spec = ask(runner, "wait")
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(doors.stay(runner, row.run_id, spec)))
    thread.start()
    path = runner.mill.log_path(f"{row.run_id}.1.log")
    assert eventually(lambda: path.exists() and "waiting" in path.read_text())
    with write(runner.mill.engine) as connection:
        connection.execute(text("UPDATE runs SET lease_us = 1"))
    claim, _ = Runner(make_mill(), runner.executors).claim(row.run_id, spec)
    thread.join(15)
    assert outcome[0].ending.state == "lost"
    assert runner.mill.ledger.run(row.run_id).fence == claim.fence
    assert states(runner, row) == ["lost", "running"]


def test_an_attempt_that_the_database_left_costs_no_retry(runner):
    row, spec = ask(runner, "unplugged")
    assert doors.stay(runner, row.run_id, spec).run.state == "succeeded"
    assert states(runner, row) == ["lost", "succeeded"]


def test_an_ending_waits_for_a_database_that_is_away(runner, monkeypatch):
    monkeypatch.setattr("clockmill.runner.PERSIST_S", 0.01)
    row, spec = ask(runner, "refuse")
    refused = []

    def away(write):
        def refuse_thrice(*arguments):
            if len(refused) == 3:
                return write(*arguments)
            refused.append(1)
            raise DatabaseUnavailable("gone")

        return refuse_thrice

    for name in ("finish", "finish_all"):
        monkeypatch.setattr(runner.mill.ledger, name, away(getattr(runner.mill.ledger, name)))
    assert doors.stay(runner, row.run_id, spec).run.state == "failed"
    assert len(refused) == 3


# -- commands


@pytest.fixture
def command(make_mill):
    def make(*words, **table):
        mill = make_mill(jobs={"export": {"command": list(words), **table}})
        runner = Runner(mill, executors_of(mill))
        spec = mill.registry.get("export")
        run_id = doors.manual_run(mill, spec, {}, forced=False, now=mill.now())
        return runner, doors.stay(runner, run_id, spec).run

    return make


def test_a_command_finds_its_run_in_its_environment(command):
    script = "import os; print(*sorted(f'{k}={v}' for k, v in os.environ.items() if k.startswith('CLOCKMILL_')))"
    runner, row = command(sys.executable, "-c", script)
    assert row.state == "succeeded"
    words = dict(word.split("=") for word in log_of(runner, row).split())
    expected = {"RUN_ID": str(row.run_id), "JOB": "export", "SLOT": "", "ATTEMPT": "1", "FENCE": "1"}
    expected["IDEMPOTENCY_KEY"] = f"export/{row.slot_key}"
    assert {f"CLOCKMILL_{key}": value for key, value in expected.items()}.items() <= words.items()
    runner.executors.close()


def test_a_command_that_fails_says_its_exit_code(command):
    runner, row = command("sh", "-c", "exit 3")
    assert (row.state, row.reason, row.exit_code) == ("failed", "exit code 3", 3)
    runner.executors.close()


# -- doors


def test_a_manual_run_keeps_its_reservation_while_it_waits(runner, monkeypatch):
    monkeypatch.setattr(doors, "RENEW_S", 0.02)
    mill = runner.mill
    in_the_way, spec = ask(runner, overlap="queue_all")
    claim, _ = runner.claim(in_the_way.run_id, spec)
    waiting, _ = ask(runner, overlap="queue_all")
    first_lease = mill.ledger.run(waiting.run_id).lease_us
    thread = threading.Thread(target=doors.stay, args=(runner, waiting.run_id, spec))
    thread.start()
    assert eventually(lambda: mill.ledger.run(waiting.run_id).lease_us > first_lease)
    mill.ledger.cancel(waiting.run_id, micros(mill.now()))
    thread.join(15)
    assert mill.ledger.run(waiting.run_id).state == "cancelled"
    assert mill.ledger.run(claim.run_id).state == "running"


def scheduled(runner, line="0 * * * *", **policies):
    return replace(runner.mill.registry.get("tiny"), schedule=(line,), timezone="UTC", **policies)


def test_a_slot_is_one_run_whoever_asks_for_it(runner):
    spec = scheduled(runner)
    first = doors.slot_run(runner.mill, spec, None, NOON + timedelta(minutes=5), forced=False)
    again = doors.slot_run(runner.mill, spec, NOON, NOON + timedelta(minutes=6), forced=False)
    assert (first.run_id, first.slot_key) == (again.run_id, "c:2026-03-08T12:00:00Z")


def test_a_slot_asked_for_by_its_time_leaves_no_other_unaccounted(runner):
    mill, spec = runner.mill, scheduled(runner)
    doors.activate(mill, spec, NOON)
    doors.slot_run(mill, spec, NOON + timedelta(hours=1), NOON + timedelta(hours=4), forced=False)
    doors.advance(mill, spec, mill.schedule(spec), NOON + timedelta(hours=4, minutes=5))
    rows = sorted((instant(row.slot_us).hour, row.slot_count, row.state) for row in mill.ledger.runs())
    assert rows == [(13, 1, "queued"), (14, 2, "missed"), (16, 1, "queued")]
    assert instant(mill.ledger.job("tiny").cursor_us) == NOON + timedelta(hours=4)


def test_a_missed_slot_asked_for_by_its_time_is_run_by_a_run_that_says_so(runner):
    mill, spec = runner.mill, scheduled(runner)
    doors.activate(mill, spec, NOON)
    doors.advance(mill, spec, mill.schedule(spec), NOON + timedelta(hours=4, minutes=5))
    missed = mill.ledger.run_of_key("tiny", "c:2026-03-08T13:00:00Z")
    again = doors.slot_run(mill, spec, NOON + timedelta(hours=2), NOON + timedelta(hours=5), forced=False)
    assert (missed.state, missed.slot_count) == ("missed", 3)
    assert (again.retry_of, again.trigger, again.state) == (missed.run_id, "retry", "queued")


def test_a_slot_in_the_future_is_refused(runner):
    with pytest.raises(UsageError, match="is in the future"):
        doors.slot_run(runner.mill, scheduled(runner), NOON + timedelta(hours=1), NOON, forced=False)


def test_a_job_without_a_schedule_has_no_latest_slot(runner):
    with pytest.raises(UsageError, match="has no schedule"):
        doors.slot_run(runner.mill, runner.mill.registry.get("tiny"), None, NOON, forced=False)


def test_a_change_of_configuration_accounts_for_what_came_before(runner):
    mill, daily = runner.mill, scheduled(runner, "0 12 * * *")
    doors.activate(mill, daily, NOON - timedelta(days=3))
    changed = scheduled(runner, "*/10 * * * *")
    doors.activate(mill, changed, NOON + timedelta(minutes=55))
    doors.advance(mill, changed, mill.schedule(changed), NOON + timedelta(minutes=61))
    rows = sorted((str(instant(row.slot_us))[5:16], row.slot_count, row.state) for row in mill.ledger.runs())
    assert rows == [("03-06 12:00", 2, "missed"), ("03-08 12:00", 1, "queued"), ("03-08 13:00", 1, "queued")]


def test_a_running_schedulers_configuration_is_not_overruled(runner):
    mill = runner.mill
    doors.activate(mill, scheduled(runner), NOON)
    mill.ledger.lease("scheduler/1", 30)
    with pytest.raises(ConfigError, match="the running scheduler has another configuration"):
        doors.know(mill, scheduled(runner, "5 * * * *"), NOON)


# -- the house


def test_housekeeping_throws_away_what_is_older_than_it_is_kept(runner):
    mill = runner.mill
    row = run(runner)
    with write(mill.engine) as connection:
        connection.execute(text("UPDATE runs SET ended_us = 1"))
    House(mill).keep()
    assert mill.ledger.run(row.run_id) is None
    assert not mill.log_path(f"{row.run_id}.1.log").exists()


def test_two_doors_share_one_ledger(runner, make_mill):
    other = make_mill()
    row, spec = ask(runner)
    taken, _ = runner.claim(row.run_id, spec)
    assert Runner(other, runner.executors).claim(row.run_id, spec)[0] == "taken"
    assert taken.owner == runner.mill.owner != other.owner
