"""Starts daemons by a fork of a process that has the libraries in memory: what is killed every second must not spend
its life importing. clockmill itself is imported by each daemon anew, for it reads its environment then.

    python tests/chaos/nursery.py FD        the harness's own; see `Nursery`
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

LIBRARIES = (
    "alembic.command",
    "alembic.context",
    "alembic.runtime.migration",
    "apscheduler.executors.pool",
    "apscheduler.schedulers.background",
    "apscheduler.triggers.interval",
    "click",
    "cronsim",
    "numpy",
    "psycopg",
    "pymysql.cursors",
    "redis",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)
MESSAGE_BYTES = 1 << 16
CHECKOUT = str(Path(__file__).parents[2])


class Child:
    """What subprocess.Popen would be for a daemon that the nursery started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("clockmill scheduler", timeout or 0)
        return self.returncode


class Nursery:
    """The harness's end of it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._children: dict[int, Child] = {}
        self._born = threading.Semaphore(0)
        self._latest = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._hear, daemon=True).start()

    def start(self, words: list[str], environment: dict[str, str], folder: Path, log: Path) -> Child:
        order = {"words": words, "environment": environment, "folder": str(folder), "log": str(log)}
        with self._lock:
            self._socket.send(json.dumps(order).encode())
            self._born.acquire()
            return self._children[self._latest]

    def _hear(self) -> None:
        while told := self._socket.recv(MESSAGE_BYTES):
            message = json.loads(told)
            if "code" not in message:
                self._latest = message["pid"]
                self._children[self._latest] = Child(self._latest)
                self._born.release()
            elif child := self._children.pop(message["pid"], None):
                child.returncode = message["code"]
                child.ended.set()


def serve(fd: int) -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    with socket.socket(fileno=fd) as asked:

        def bury(*_: object) -> None:
            with contextlib.suppress(ChildProcessError):
                while (found := os.waitpid(-1, os.WNOHANG))[0]:
                    asked.send(json.dumps({"pid": found[0], "code": os.waitstatus_to_exitcode(found[1])}).encode())

        signal.signal(signal.SIGCHLD, bury)
        while order := asked.recv(MESSAGE_BYTES):
            # Its birth is told before its death.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            if not (pid := os.fork()):
                asked.close()
                live(json.loads(order))
            asked.send(json.dumps({"pid": pid}).encode())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def live(order: dict[str, object]) -> None:
    """The rest of a daemon's life, as if it had been started by a shell."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    os.chdir(str(order["folder"]))
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)
    sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.path[:] = [CHECKOUT, *(entry for entry in sys.path if entry != str(Path(__file__).parent))]
    if host := os.environ.get("CHAOS_HOST"):
        # As on another machine: a rescuer kills what a lost attempt left on its own host.
        socket.gethostname = lambda: host
    if patch := os.environ.get("CHAOS_PATCH"):
        importlib.import_module(patch)
    sys.argv = ["clockmill", *order["words"]]  # type: ignore[misc]
    code = 1
    try:
        from clockmill.cli import main

        main()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
