"""What an attempt may use, and what becomes of one that wants more; survivors of attempts that were lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clockmill.errors import JobError
from clockmill.executors import Executors, Order, keeper, process_tree
from clockmill.executors.warm_parent import WarmParent
from clockmill.perform import names_of

MEGABYTE = 2**20
HOLD = "held = bytearray(200 * 2**20); import time; time.sleep(60)"
FORKS = "import os, time; os.fork(); os.fork(); held = bytearray(40 * 2**20); time.sleep(60)"
LEAP = "held = bytearray(2**40)"


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


def body(order, tell):
    """What these tests call a job: it holds or opens more than it may."""
    if order.job == "holds":
        held = bytearray(300 * MEGABYTE)
        time.sleep(60)
        return len(held)
    if order.job == "opens":
        kept = []
        try:
            while len(kept) < 1000:
                kept.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as e:
            return e.errno
    if order.job == "waits":
        time.sleep(60)
    return 0


@pytest.fixture
def warm(monkeypatch):
    monkeypatch.setattr(keeper, "GRACE_S", 0.3)
    held = WarmParent(body)
    yield held
    held.close()


def order(tmp_path, job="job", **fields):
    return Order(1, job, 1, 1, str(tmp_path / "1.1.log"), timeout_s=20.0, folder=str(tmp_path), **fields)


def python(tmp_path, code, **fields):
    return order(tmp_path, command=(sys.executable, "-c", code), **fields)


def run(warm, asked):
    return warm.run(asked, lambda message: None)


# -- memory


def test_a_command_that_holds_too_much_is_killed(warm, tmp_path):
    ended = run(warm, python(tmp_path, HOLD, memory=100 * MEGABYTE))
    assert (ended.cause, ended.signal) == ("memory", signal.SIGKILL)


def test_a_function_that_holds_too_much_is_killed(warm, tmp_path):
    assert run(warm, order(tmp_path, "holds", memory=250 * MEGABYTE)).cause == "memory"


def test_all_processes_of_a_job_count_together(warm, tmp_path):
    assert run(warm, python(tmp_path, FORKS, memory=120 * MEGABYTE)).cause == "memory"


def test_a_leap_beyond_what_can_be_watched_is_refused_at_once(warm, tmp_path):
    ended = run(warm, python(tmp_path, LEAP, memory=100 * MEGABYTE))
    assert (ended.cause, ended.code) == ("exit", 1)
    assert "MemoryError" in (tmp_path / "1.1.log").read_text()


def test_what_stays_below_its_limit_is_left_alone(warm, tmp_path):
    ended = run(warm, python(tmp_path, "held = bytearray(50 * 2**20)", memory=200 * MEGABYTE))
    assert (ended.cause, ended.code) == ("exit", 0)


# -- open files


def test_a_function_may_open_so_many_files_and_no_more(warm, tmp_path):
    assert run(warm, order(tmp_path, "opens", open_files=64)).code == 24


def test_a_command_may_open_so_many_files_and_no_more(warm, tmp_path):
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    run(warm, python(tmp_path, code, open_files=64))
    assert (tmp_path / "1.1.log").read_text() == "(64, 64)\n"


def test_without_limits_a_job_has_those_of_its_scheduler(warm, tmp_path):
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY)"
    run(warm, python(tmp_path, code))
    assert (tmp_path / "1.1.log").read_text() == "True\n"


# -- survivors


@pytest.fixture
def leader():
    """A process that leads a session and has a child in it: (its Popen, the child's pid)."""
    script = "sleep 600 & echo $!; wait"
    started = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE, text=True)
    yield started, int(started.stdout.readline())
    process_tree.send([started.pid], signal.SIGKILL)
    started.wait()
    started.stdout.close()


def test_a_survivor_and_what_it_started_are_killed(leader):
    started, child = leader
    assert process_tree.kill_survivors(started.pid, process_tree.start_time(started.pid)) == 0
    assert started.wait() == -signal.SIGKILL
    assert gone(child)


def test_the_children_of_one_that_died_are_killed_too(leader):
    started, child = leader
    began = process_tree.start_time(started.pid)
    started.kill()
    started.wait()
    process_tree.kill_survivors(started.pid, began)
    assert gone(child)


def test_a_process_that_got_the_number_later_is_left_alone(leader):
    started, child = leader
    process_tree.kill_survivors(started.pid, process_tree.start_time(started.pid) - 100)
    assert alive(started.pid)
    assert alive(child)


def test_the_kernels_lists_of_children_find_what_a_search_finds(leader):
    started, child = leader
    assert started.pid in process_tree.below(os.getpid())
    assert process_tree.below(started.pid) == process_tree.descendants(started.pid) == [child]


# -- threads


def test_a_thread_that_is_to_end_is_left_to_itself(tmp_path):
    held = Executors(body)
    asked = order(tmp_path, "waits")

    def tell_end(message):
        raise AssertionError("a thread tells nothing of itself")

    threading.Timer(0.1, held.end, (asked, True)).start()
    assert held.run("thread", asked, tell_end).cause == "cancel"
    held.close()


# -- names


def test_an_exception_is_known_by_its_bases_too():
    assert names_of(ConnectionResetError()) == ["ConnectionResetError", "ConnectionError", "OSError", "Exception"]
    assert names_of(JobError()) == ["JobError", "ClockmillError", "Exception"]
