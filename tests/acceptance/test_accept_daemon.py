"""The daemon's end, asked for or not: nothing is left running, nothing is left undone."""

import signal
import time
from datetime import UTC, datetime, timedelta

import pytest


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
    listed = clockmill("jobs", "list")
    assert "line 5: [jobs.wrong]: schedule '61 * * * *': minute is '61'; allowed: 0-59" in listed.err
    states = {job["job"]: job["state"] for job in clockmill("jobs", "list", "--json").json["jobs"]}
    assert (states["wrong"], states["tick"]) == ("broken", "enabled")
    assert clockmill("jobs", "lint", code=2).out.startswith("wrong: ")
