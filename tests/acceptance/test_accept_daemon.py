"""The daemon's end, asked for or not: nothing is left running, nothing is left undone."""

import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

#: A job whose first attempt outlives any patience, with a child that has left its session.
STUBBORN = """
import subprocess, time
from clockmill import Context, job

@job(schedule="@at {at}", timezone="UTC")
def stubborn(ctx: Context) -> None:
    if ctx.attempt == 1:
        subprocess.Popen(["sleep", "{mark}"], start_new_session=True)
        ctx.log("begun")
        time.sleep(600)
"""


def soon():
    """An instant in UTC that comes when the daemon has started."""
    return (datetime.now(UTC) + timedelta(seconds=4)).strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_leaves_at_once_when_told(clockmill, number):
    daemon = clockmill.daemon()
    told = time.monotonic()
    daemon.send(number, group=number == signal.SIGINT)
    daemon.end(0, timeout=10)
    assert time.monotonic() - told < 5
    assert clockmill.query("SELECT * FROM leases WHERE name LIKE 'scheduler/%'") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_that_is_told_to_leave_lets_a_short_run_finish(clockmill, number):
    clockmill.configure(f'[jobs.short]\ncommand = ["sleep", "2"]\nschedule = "@at {soon()}"\ntimezone = "UTC"')
    daemon = clockmill.daemon()
    clockmill.wait_for_run("short", "running")
    daemon.send(number, group=number == signal.SIGINT)
    daemon.end(0, timeout=20)
    (run,) = clockmill.runs("short")
    assert (run["state"], run["attempt"]) == ("succeeded", 1)


@pytest.mark.slow
def test_a_killed_daemon_leaves_no_child_and_another_one_runs_the_slot_again(clockmill):
    clockmill.configure('[scheduler]\njob_folders = ["my_jobs"]')
    clockmill.write("my_jobs/stubborn.py", STUBBORN.format(at=soon(), mark=clockmill.mark))
    daemon = clockmill.daemon()
    clockmill.wait_until(lambda: clockmill.alive())
    daemon.send(signal.SIGKILL)
    killed = time.monotonic()
    clockmill.daemon()
    clockmill.wait_until(lambda: not clockmill.alive(), timeout=3)
    clockmill.wait_for_run("stubborn", "succeeded")
    assert time.monotonic() - killed < 45
    (run,) = clockmill.runs("stubborn")
    tried = clockmill.query("SELECT state FROM attempts WHERE run_id = ? ORDER BY attempt", run["run_id"])
    assert [attempt["state"] for attempt in tried] == ["lost", "succeeded"]


def test_a_killed_hand_start_leaves_no_child(clockmill):
    clockmill.configure(
        f'[jobs.long]\ncommand = ["sh", "-c", "setsid sleep {clockmill.mark} & sleep {clockmill.mark}"]'
    )
    started = clockmill.start("run", "long")
    clockmill.wait_until(lambda: len(clockmill.alive()) == 2)
    started.send(signal.SIGKILL)
    clockmill.wait_until(lambda: not clockmill.alive(), timeout=3)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_hand_start_that_is_interrupted_is_cancelled_and_says_so_by_its_exit_code(clockmill, number, code):
    clockmill.configure(f'[jobs.long]\ncommand = ["sleep", "{clockmill.mark}"]')
    started = clockmill.start("run", "long")
    clockmill.wait_until(lambda: clockmill.alive())
    started.send(number, group=number == signal.SIGINT)
    started.end(code)
    assert clockmill.runs("long")[0]["state"] == "cancelled"
    assert clockmill.alive() == []


def test_a_job_whose_code_cannot_be_loaded_stops_neither_the_daemon_nor_the_others(clockmill):
    clockmill.configure(
        '[scheduler]\njob_folders = ["my_jobs"]\n[jobs.tick]\ncommand = ["true"]\nschedule = "* * * * * *"'
    )
    clockmill.write("my_jobs/halfway.py", "from clockmill import job\n@job(schedule='* * * * *'\n")
    daemon = clockmill.daemon()
    clockmill.wait_for_run("tick", "succeeded")
    assert "job halfway is broken: SyntaxError" in daemon.err.read_text()
    assert "halfway" in clockmill("run", "halfway", code=2).err
    assert clockmill("jobs", "list", "--json").json["jobs"][-1]["state"] == "broken"


def test_a_schedule_that_cannot_be_read_stops_neither_the_daemon_nor_the_others(clockmill):
    clockmill.configure(
        '[jobs.wrong]\ncommand = ["true"]\nschedule = "61 * * * *"\n'
        '[jobs.tick]\ncommand = ["true"]\nschedule = "* * * * * *"'
    )
    daemon = clockmill.daemon()
    clockmill.wait_for_run("tick", "succeeded")
    assert "job wrong" in daemon.err.read_text()
