"""Attempts in processes of their own: ended in time, heard to the end, and nothing of them survives."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from clockmill.executors import Executors, Order, keeper
from clockmill.executors.log_file import HEAD, TAIL, LogFile
from clockmill.executors.warm_parent import WarmParent

ROOT = Path(__file__).parents[2]
#: A daemon as daemons are made: two forks and a session of its own. It writes its pid and stays.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
"""


def eventually(fact, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.01)
    return fact()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def read_pid(path):
    assert eventually(lambda: path.exists() and path.read_text())
    return int(path.read_text())


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(keeper, "GRACE_S", 0.3)
    monkeypatch.setattr(keeper, "DRAIN_S", 0.2)


@pytest.fixture
def warm(hurry):
    held = WarmParent(body)
    yield held
    held.close()


def body(order, tell):
    """What these tests call a job: it does what its name says."""
    if order.job == "tells":
        tell({"progress": 0.5, "note": "half"})
    if order.job == "waits":
        time.sleep(60)
    if order.job == "prints":
        print("half a pair: \ud800")
        print("and its end", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)
    if order.job == "raises":
        raise RuntimeError("in the job")
    if order.job == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(60)
    return 7 if order.job == "seven" else 0


@pytest.fixture
def order(tmp_path):
    return Order(1, "job", 1, 1, str(tmp_path / "1.1.log"), timeout_s=20.0, folder=str(tmp_path))


def shell(order, line, **fields):
    return replace(order, command=(line,), shell=True, **fields)


def run(warm, order):
    heard = []
    return warm.run(order, heard.append), heard


def started(warm, order, until):
    """The attempt in a thread of its own, begun; `join` gives its exit."""
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run(warm, order)[0]))
    thread.start()
    assert eventually(until)

    def join():
        thread.join(20)
        return ended[0]

    return join


# -- what is told


def test_a_function_runs_in_a_process_of_its_own_and_its_exit_code_comes_back(warm, order):
    ended, heard = run(warm, replace(order, job="seven"))
    assert (ended.cause, ended.code, ended.signal) == ("exit", 7, None)
    assert heard[0]["pid"] != os.getpid()
    assert heard[0]["pid_start"] > 0
    assert ended.peak_rss_mb > 1


def test_progress_is_heard(warm, order):
    assert {"progress": 0.5, "note": "half"} in run(warm, replace(order, job="tells"))[1]


def test_a_listener_that_fails_harms_no_other_attempt(warm, order):
    def fail(message):
        raise ValueError("cannot be stored")

    assert warm.run(replace(order, job="tells"), fail).code == 0
    assert warm.run(replace(order, job="seven", run_id=2), lambda _: None).code == 7


def test_what_a_function_prints_is_in_its_log_line_by_line(warm, order):
    run(warm, replace(order, job="prints"))
    assert Path(order.log).read_text() == "half a pair: \\ud800\nand its end\n"


def test_a_function_that_raises_past_its_body_ends_with_a_code(warm, order):
    assert run(warm, replace(order, job="raises"))[0].code == 70


def test_a_commands_exit_code_comes_back(warm, order):
    assert run(warm, replace(order, command=("sh", "-c", "exit 3")))[0].code == 3


def test_a_signal_is_told_from_an_exit_code(warm, order):
    ended, _ = run(warm, shell(order, "kill -SEGV $$"))
    assert (ended.cause, ended.code, ended.signal) == ("exit", None, signal.SIGSEGV)


def test_a_command_that_is_not_there_says_so(warm, order):
    ended, heard = run(warm, replace(order, command=("no-such-program",)))
    assert ended.code == 127
    assert {"reason": '"no-such-program" cannot be run: No such file or directory'} in heard


def test_a_command_starts_in_its_folder_with_its_environment_and_without_input(warm, order, tmp_path):
    run(warm, shell(order, "pwd; echo $RUN; wc -c", environment={**os.environ, "RUN": "7"}))
    assert Path(order.log).read_text().split() == [str(tmp_path), "7", "0"]


def test_arguments_of_a_command_are_not_read_by_a_shell(warm, order):
    run(warm, replace(order, command=("echo", "$HOME; ls *")))
    assert Path(order.log).read_text() == "$HOME; ls *\n"


# -- what is written


def test_endless_output_is_bounded(warm, order):
    ended, _ = run(warm, shell(order, "yes", timeout_s=0.5))
    log = Path(order.log).read_bytes()
    assert ended.cause == "timeout"
    assert b"bytes left out here" in log
    assert HEAD + TAIL < len(log) < HEAD + TAIL + 100


def test_one_endless_line_is_read_to_its_end(warm, order):
    ended, _ = run(warm, shell(order, "head -c 20000000 /dev/zero; echo the end"))
    assert ended.code == 0
    assert Path(order.log).read_bytes().endswith(b"\0the end\n")


def test_a_log_that_cannot_be_written_costs_the_log_alone(warm, order, tmp_path):
    (tmp_path / "file").touch()
    assert run(warm, shell(order, "echo x; exit 4", log=str(tmp_path / "file" / "1.1.log")))[0].code == 4


def test_a_child_that_holds_the_output_open_does_not_hold_up_the_run(warm, order):
    began = time.monotonic()
    assert run(warm, shell(order, "sleep 60 & echo $! > child; exit 0"))[0].code == 0
    assert time.monotonic() - began < 10
    assert not alive(read_pid(Path(order.folder) / "child"))


# -- how it is ended


def test_a_job_that_overstays_is_asked_to_end(warm, order):
    ended, _ = run(warm, shell(order, "trap 'echo bye; exit 0' TERM; sleep 60 & wait", timeout_s=0.3))
    assert (ended.cause, ended.code) == ("timeout", 0)
    assert "bye" in Path(order.log).read_text()


def test_a_job_that_does_not_hear_is_killed(warm, order):
    ended, _ = run(warm, replace(order, job="stubborn", timeout_s=0.3))
    assert (ended.cause, ended.signal) == ("timeout", signal.SIGKILL)


def test_children_that_left_the_group_die_with_the_job(warm, order, tmp_path):
    ended, _ = run(warm, replace(order, command=(sys.executable, "-c", DAEMON, str(tmp_path / "daemon"))))
    assert ended.code == 0
    assert not alive(read_pid(tmp_path / "daemon"))


def test_children_that_left_the_group_die_at_a_timeout(warm, order, tmp_path):
    command = (sys.executable, "-c", DAEMON + "time.sleep(60)", str(tmp_path / "daemon"))
    ended, _ = run(warm, replace(order, command=command, timeout_s=2.0))
    assert ended.cause == "timeout"
    assert not alive(read_pid(tmp_path / "daemon"))


@pytest.mark.parametrize(("at_once", "signals"), [(False, signal.SIGTERM), (True, signal.SIGKILL)])
def test_an_attempt_is_ended_on_demand(warm, order, at_once, signals):
    asked = shell(order, "echo up; exec sleep 60")
    join = started(warm, asked, lambda: Path(order.log).exists() and Path(order.log).read_text())
    warm.end(asked.key, at_once)
    ended = join()
    assert (ended.cause, ended.signal) == ("cancel", signals)


def test_an_attempt_may_be_ended_before_its_keeper_is_known(warm, order):
    asked = replace(order, job="waits")
    join = started(warm, asked, lambda: asked.key in warm._attempts)
    warm.end(asked.key, at_once=True)
    assert join().cause == "cancel"


def test_ending_what_has_ended_does_nothing(warm, order):
    run(warm, order)
    warm.end(order.key, at_once=True)
    assert run(warm, replace(order, run_id=2))[0].code == 0


# -- who dies


def test_a_keeper_that_is_killed_leaves_an_orphan_and_no_process(warm, order, tmp_path):
    command = (sys.executable, "-c", DAEMON + "time.sleep(60)", str(tmp_path / "daemon"))
    join = started(warm, replace(order, command=command), (tmp_path / "daemon").exists)
    daemon = read_pid(tmp_path / "daemon")
    os.kill(warm._attempts[order.key].keeper, signal.SIGKILL)
    assert join().cause == "orphaned"
    assert eventually(lambda: not alive(daemon))


def test_a_keeper_that_is_killed_costs_its_own_attempt_alone(warm, order, tmp_path):
    one = shell(order, "echo up; exec sleep 60")
    two = shell(order, "echo up; while [ ! -e go ]; do sleep 0.05; done; exit 5", run_id=2, log=f"{order.log}.2")
    first = started(warm, one, lambda: Path(one.log).exists() and Path(one.log).read_text())
    second = started(warm, two, lambda: Path(two.log).exists() and Path(two.log).read_text())
    os.kill(warm._attempts[one.key].keeper, signal.SIGKILL)
    assert first().cause == "orphaned"
    (tmp_path / "go").touch()
    assert second().code == 5


def test_without_its_warm_parent_nothing_new_begins_and_what_runs_goes_on(warm, order, tmp_path):
    asked = shell(order, "echo up; while [ ! -e go ]; do sleep 0.05; done; exit 5")
    join = started(warm, asked, lambda: Path(order.log).exists() and Path(order.log).read_text())
    assert warm.alive()
    os.kill(warm.pid, signal.SIGKILL)
    assert eventually(lambda: not warm.alive())
    assert run(warm, replace(order, run_id=2))[0].cause == "orphaned"
    (tmp_path / "go").touch()
    assert join().code == 5


def test_jobs_die_with_their_scheduler_however_it_dies(order, tmp_path):
    code = (
        "import sys\nfrom clockmill.executors import Order\nfrom clockmill.executors.warm_parent import WarmParent\n"
        "WarmParent(lambda order, tell: 0).run(Order.from_json(sys.argv[1]), lambda message: None)"
    )
    asked = replace(order, command=(sys.executable, "-c", DAEMON + "time.sleep(60)", str(tmp_path / "daemon")))
    scheduler = subprocess.Popen([sys.executable, "-c", code, asked.to_json()], cwd=ROOT)
    daemon = read_pid(tmp_path / "daemon")
    scheduler.kill()
    scheduler.wait()
    assert eventually(lambda: not alive(daemon))


# -- threads


@pytest.fixture
def executors(hurry):
    held = Executors(body)
    yield held
    held.close()


def test_a_thread_job_runs_here(executors, order):
    heard = []
    assert executors.run("thread", replace(order, job="tells"), heard.append).code == 0
    assert heard == [{"progress": 0.5, "note": "half"}]


def test_a_thread_job_that_overstays_is_left_behind(executors, order):
    waiting = threading.Event()
    held = Executors(lambda asked, tell: int(waiting.wait(20)))
    assert held.run("thread", replace(order, timeout_s=0.05), lambda _: None).cause == "timeout"
    waiting.set()
    held.close()


# -- the log


def written(tmp_path, *parts, echo=None):
    path = tmp_path / "log"
    log = LogFile(path, echo)
    for part in parts:
        log.write(part)
    log.close()
    return path.read_bytes()


def test_a_log_keeps_what_was_written(tmp_path):
    assert written(tmp_path, b"a\n", b"\xff\x00", b"b") == b"a\n\xff\x00b"


def test_a_log_is_its_owners_alone(tmp_path):
    written(tmp_path, b"secret")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_log_of_just_the_size_is_whole(tmp_path):
    text = b"x" * (HEAD + TAIL)
    assert written(tmp_path, text) == text


def test_a_log_that_is_too_large_keeps_its_beginning_and_its_end(tmp_path):
    log = written(tmp_path, b"a" * HEAD, *[b"b" * 60_000] * 30, b"c" * TAIL)
    assert log == b"a" * HEAD + b"\n[... 1800000 bytes left out here ...]\n" + b"c" * TAIL


def test_a_log_is_not_written_through_a_link(tmp_path):
    (tmp_path / "target").write_text("untouched")
    (tmp_path / "log").symlink_to(tmp_path / "target")
    LogFile(tmp_path / "log").write(b"x")
    assert (tmp_path / "target").read_text() == "untouched"


def test_a_log_goes_on_when_whoever_watched_it_has_gone(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    assert written(tmp_path, b"a", b"b", echo=writer) == b"ab"
    os.close(writer)
