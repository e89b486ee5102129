"""Jobs that end badly, and one small job that shows whether the daemon keeps time beside them."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time

from clockmill import Context, job

#: A number on the command line of every child, by which the children of one job are told from those of another.
MARKS = {"stubborn": 86401, "forks": 86402, "daemonizes": 86403, "sleeper": 86404, "command": 86405}
EVERY = os.environ.get("ILL_EVERY", "30")
ILL = {"schedule": f"@every {EVERY}s", "timezone": "UTC", "overlap": "skip"}


def child(name: str, **how: object) -> None:
    subprocess.Popen(["sleep", str(MARKS[name])], **how)


@job(schedule="@every 1s", timezone="UTC", name="plain-tick", catch_up="all", overlap="allow")
def tick(ctx: Context) -> None:
    pass


@job(**ILL, timeout="2s", name="stubborn")
def stubborn(ctx: Context) -> None:
    """Ignores TERM, and so does its child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child("stubborn", preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    while True:
        time.sleep(1)


@job(**ILL, timeout="4s", name="forks")
def forks(ctx: Context) -> None:
    for _ in range(int(os.environ.get("ILL_FORKS", "500"))):
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", str(MARKS["forks"])])
    time.sleep(600)


@job(**ILL, name="daemonizes")
def daemonizes(ctx: Context) -> None:
    """Leaves a grandchild in a session of its own, and succeeds."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", str(MARKS["daemonizes"])])
        os._exit(0)
    os.wait()


@job(**ILL, name="hungry")
def hungry(ctx: Context) -> None:
    """Eats all the memory that it is given."""
    limit = 512 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    eaten = []
    while True:
        eaten.append(bytearray(16 * 2**20))


@job(**ILL, name="exits")
def exits(ctx: Context) -> None:
    os._exit(7)


@job(**ILL, name="leaves")
def leaves(ctx: Context) -> None:
    sys.exit("enough")


@job(**ILL, name="crashes")
def crashes(ctx: Context) -> None:
    ctypes.string_at(0)


@job(**ILL, timeout="2s", name="deadlocks")
def deadlocks(ctx: Context) -> None:
    """Waits in C for a lock that it holds, with the interpreter's lock in its hands: no handler of Python's runs."""
    mutex = ctypes.create_string_buffer(64)
    lock = ctypes.PyDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)


@job(**ILL, timeout="5m", name="prints")
def prints(ctx: Context) -> None:
    """Writes without an end of line."""
    left = int(os.environ.get("ILL_BYTES", "200000000"))
    block = bytes(range(256)).replace(b"\n", b"") * 256
    while left > 0:
        left -= os.write(1, block)
