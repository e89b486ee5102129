"""The warm parent: a process that has the jobs' code in memory and forks a keeper for each attempt.

It is forked before its scheduler opens a database, a socket or a thread, and opens none itself: nothing that a fork
would break can be inherited. A start costs a fork, not an interpreter with its imports.
"""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clockmill.executors.keeper import CANCEL, KILL, Keeper, write_message
from clockmill.executors.order import Exit, Order, Tell

#: Runs one order in the job's own process; the exit code. `tell` reaches whoever ordered it.
Body = Callable[[Order, Tell], int]


@dataclass
class Attempt:
    """One order on its way."""

    tell: Tell
    done: threading.Event = field(default_factory=threading.Event)
    exit: Exit | None = None
    keeper: int | None = None


class WarmParent:
    """The scheduler's end of it. Orders may be given from any thread."""

    def __init__(self, body: Body) -> None:
        """Forks at once: the caller must not have opened anything yet."""
        requests, self._requests = os.pipe2(os.O_CLOEXEC)
        self._reports, report = os.pipe2(os.O_CLOEXEC)
        lifeline, self._lifeline = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if not self.pid:
            for fd in (self._requests, self._reports, self._lifeline):
                os.close(fd)
            try:
                _serve(requests, report, lifeline, body)
            finally:
                os._exit(0)
        for fd in (requests, report, lifeline):
            os.close(fd)
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        self._listener: threading.Thread | None = None

    def run(self, order: Order, tell: Tell) -> Exit:
        """Returns when the attempt and all it started is gone."""
        attempt = Attempt(tell)
        with self._lock:
            self._attempts[order.key] = attempt
            self._listen()
            try:
                _write_all(self._requests, order.to_json().encode() + b"\n")
            except BrokenPipeError:
                attempt.done.set()
        attempt.done.wait()
        with self._lock:
            del self._attempts[order.key]
        return attempt.exit or Exit("orphaned")

    def end(self, key: str, at_once: bool) -> None:
        """Asks the keeper to end an attempt; nothing happens when it has ended."""
        attempt = self._attempts.get(key)
        if attempt and attempt.keeper and not attempt.done.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(attempt.keeper, KILL if at_once else CANCEL)

    def close(self) -> None:
        """Lets the warm parent go; keepers that still run end their jobs."""
        for fd in (self._requests, self._lifeline):
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = threading.Thread(target=self._hear, name="reports", daemon=True)
            self._listener.start()

    def _hear(self) -> None:
        with os.fdopen(self._reports, "rb", closefd=False) as lines:
            for line in lines:
                self._obey(json.loads(line))
        # Only the death of the warm parent and of every keeper closes the pipe.
        for attempt in list(self._attempts.values()):
            attempt.done.set()

    def _obey(self, message: dict[str, Any]) -> None:
        attempt = self._attempts.get(message.pop("key"))
        if attempt is None:
            return
        if "keeper" in message:
            attempt.keeper = message["keeper"]
        elif "exit" in message:
            attempt.exit = Exit(**message["exit"])
            attempt.done.set()
        else:
            attempt.tell(message)


def _serve(requests: int, report: int, lifeline: int, body: Body) -> None:
    """The warm parent's whole life: one fork an order, until its scheduler closes the pipe."""
    # Ctrl-C reaches the whole terminal; it is the scheduler that decides what becomes of running jobs.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            order = Order.from_json(line.decode())
            if pid := os.fork():
                write_message(report, order.key, {"keeper": pid})
                continue
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(order, lifeline, report, body)


def _keep(order: Order, lifeline: int, report: int, body: Body) -> None:
    try:

        def tell(message: Mapping[str, Any]) -> None:
            write_message(report, order.key, dict(message))

        Keeper(order, lifeline, report).run(lambda asked: body(asked, tell))
    except BaseException as e:
        write_message(report, order.key, {"reason": f"the keeper failed: {type(e).__name__}: {e}"})
        write_message(report, order.key, {"exit": Exit("orphaned").__dict__})
    finally:
        os._exit(0)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
