"""Debian's cron as the referee: a rendered crontab beside the daemon, for some minutes; the same slots, each once.

It takes minutes and needs a cron daemon, so it runs only when asked for: CLOCKMILL_LONG=1.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

MINUTES = 3
PID = Path("/var/run/crond.pid")
JOBS = """
[jobs.both]
command = ["sh", "-c", "echo $CLOCKMILL_SLOT >> both.slots"]
schedule = "* * * * *"
overlap = "allow"

[jobs.odd]
command = ["sh", "-c", "echo $CLOCKMILL_SLOT >> odd.slots"]
schedule = "1-59/2 * * * *"
overlap = "allow"

[jobs.weekdays]
command = ["sh", "-c", "echo $CLOCKMILL_SLOT >> weekdays.slots"]
schedule = "*/1 0-23 1-31 * 0-7"
overlap = "allow"
"""

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("CLOCKMILL_LONG") != "1", reason=f"takes {MINUTES + 1} minutes: CLOCKMILL_LONG=1"
    ),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("cron") is None, reason="needs root and Debian's cron"),
]


@contextmanager
def cron(crontab):
    """Cron, with this crontab as root's; afterwards whatever was there before."""
    before = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    subprocess.run(["crontab", "-"], input=crontab, text=True, check=True)
    started = None if running() else subprocess.Popen(["cron", "-f"], start_new_session=True)
    try:
        yield
    finally:
        if started:
            started.send_signal(signal.SIGTERM)
            started.wait()
        if before.returncode == 0:
            subprocess.run(["crontab", "-"], input=before.stdout, text=True, check=True)
        else:
            subprocess.run(["crontab", "-r"], check=True)


def running():
    """Whether a cron daemon of the host's own is at work."""
    try:
        os.kill(int(PID.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def sleep_until(moment):
    time.sleep(max(0.0, moment - time.time()))


def slots(clockmill, job):
    path = clockmill.folder / f"{job}.slots"
    return sorted(path.read_text().split()) if path.exists() else []


def keep_time(clockmill, lines):
    """Lets cron keep time with these lines, from one minute to another; the minutes at which it did."""
    witness = clockmill.folder / "cron.slots"
    (clockmill.folder / "var").mkdir(exist_ok=True)
    begin = time.time() // 60 * 60 + 60
    with cron(f"{lines}* * * * * date -u +\\%Y-\\%m-\\%dT\\%H:\\%M:00Z >> {witness}\n"):
        sleep_until(begin + 60 * MINUTES - 20)
    return witness.read_text().split()


def of_cron(clockmill, job, kept):
    return [slot for slot in slots(clockmill, job) if slot in kept]


def test_cron_and_the_daemon_come_to_the_same_slots_and_each_runs_once(clockmill):
    clockmill.configure(JOBS)
    lines = clockmill("crontab", "render", "--bin", clockmill.command, "--home", clockmill.folder).out
    daemon = clockmill.daemon()
    kept = keep_time(clockmill, lines)
    daemon.send(signal.SIGTERM)
    daemon.end()
    assert len(kept) == MINUTES
    assert of_cron(clockmill, "both", kept) == of_cron(clockmill, "weekdays", kept) == kept
    assert of_cron(clockmill, "odd", kept) == [slot for slot in kept if int(slot[14:16]) % 2]
    said = (clockmill.folder / "var" / "cron.log").read_text()
    assert said.count(": both, slot ") == MINUTES, "cron's lines came by at every slot, too"


def test_cron_alone_keeps_time_as_the_daemon_would(clockmill):
    clockmill.configure(JOBS)
    lines = clockmill("crontab", "render", "--bin", clockmill.command, "--home", clockmill.folder).out
    kept = keep_time(clockmill, lines)
    assert len(kept) == MINUTES
    assert slots(clockmill, "both") == slots(clockmill, "weekdays") == kept
    assert slots(clockmill, "odd") == [slot for slot in kept if int(slot[14:16]) % 2]
