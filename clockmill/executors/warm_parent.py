"""The warm parent: a process that has the jobs' code in memory and forks a keeper for each attempt.

It is forked before its scheduler opens a database, a socket or a thread, and opens none itself: nothing that a fork
would break can be inherited. A start costs a fork, not an interpreter with its imports.
"""

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from clockmill.executors import process_tree
from clockmill.executors.keeper import CANCEL, KEPT_SIGNALS, KILL, Keeper, write_message
from clockmill.executors.log_file import write_all
from clockmill.executors.order import Body, Exit, Order, Tell

#: What the warm parent keeps of its pipes: orders come in, reports go out, and the lifeline ends with its scheduler.
Ends = tuple[int, int, int]

#: A warm parent is believed to live on for so long; an order that finds it dead says so at once.
SEEN_S = 1.0

log = logging.getLogger("clockmill.executors")


@dataclass
class Attempt:
    """One order on its way."""

    tell: Tell
    done: threading.Event = field(default_factory=threading.Event)
    exit: Exit | None = None
    keeper: int | None = None
    #: The signal by which it is to be ended; sent as soon as there is a keeper to take it.
    wish: int | None = None


class WarmParent:
    """The scheduler's end of it. Orders may be given from any thread."""

    def __init__(self, body: Body, grow: Callable[[Ends], int] | None = None, apart: Sequence[int] = ()) -> None:
        """Forks at once: the caller must not have opened anything yet, but for `apart`, which the child closes.

        `grow`: another process forks it instead, and gives its pid.
        """
        requests, self._requests = os.pipe2(os.O_CLOEXEC)
        self._reports, report = os.pipe2(os.O_CLOEXEC)
        lifeline, self._lifeline = os.pipe2(os.O_CLOEXEC)
        ends = (requests, report, lifeline)
        try:
            self.pid = grow(ends) if grow else self._fork(ends, body, apart)
        except BaseException:
            for fd in (self._requests, self._reports, self._lifeline):
                os.close(fd)
            raise
        finally:
            for fd in ends:
                os.close(fd)
        self._began = process_tree.start_time(self.pid)
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        self._listener: threading.Thread | None = None
        self._dead = False
        self._seen_at = -SEEN_S

    def _fork(self, ends: Ends, body: Body, apart: Sequence[int]) -> int:
        if pid := os.fork():
            return pid
        try:
            for fd in (self._requests, self._reports, self._lifeline, *apart):
                os.close(fd)
            serve(*ends, body)
        finally:
            os._exit(0)

    def run(self, order: Order, tell: Tell) -> Exit:
        """Returns when the attempt and all it started is gone."""
        attempt = Attempt(tell)
        with self._lock:
            self._attempts[order.key] = attempt
            self._listen()
            try:
                write_all(self._requests, order.to_json().encode() + b"\n")
            except BrokenPipeError:
                self._dead = True
                attempt.done.set()
        attempt.done.wait()
        with self._lock:
            del self._attempts[order.key]
        return attempt.exit or Exit("orphaned")

    def end(self, key: str, at_once: bool) -> None:
        """Asks the keeper to end an attempt; nothing happens when it has ended."""
        attempt = self._attempts.get(key)
        if attempt and not attempt.done.is_set():
            attempt.wish = KILL if at_once else CANCEL
            _fulfil(attempt)

    def alive(self) -> bool:
        """False when something killed the process: attempts go on to their end, new ones cannot begin."""
        if not self._dead and time.monotonic() - self._seen_at > SEEN_S:
            self._dead, self._seen_at = not self._is_there(), time.monotonic()
        return not self._dead

    def _is_there(self) -> bool:
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] == 0
        except ChildProcessError:
            # It grew from the seed, or was buried by an earlier look.
            return 0 < self._began == process_tree.start_time(self.pid)

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
        self._dead = True
        for attempt in list(self._attempts.values()):
            attempt.done.set()

    def _obey(self, message: dict[str, Any]) -> None:
        attempt = self._attempts.get(message.pop("key"))
        if attempt is None:
            return
        if "keeper" in message:
            attempt.keeper = message["keeper"]
            _fulfil(attempt)
        elif "exit" in message:
            attempt.exit = Exit(**message["exit"])
            attempt.done.set()
        else:
            try:
                attempt.tell(message)
            except Exception:
                # Every other attempt of this process is heard by the same thread.
                log.exception("attempt %s: a message was lost", message)


def _fulfil(attempt: Attempt) -> None:
    if attempt.keeper and attempt.wish:
        with contextlib.suppress(ProcessLookupError):
            os.kill(attempt.keeper, attempt.wish)


def serve(requests: int, report: int, lifeline: int, body: Body) -> None:
    """The warm parent's whole life: one fork an order, until its scheduler closes the pipe."""
    # Ctrl-C reaches the whole terminal; it is the scheduler that decides what becomes of running jobs.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process_tree.adopt_orphans()
    keepers: dict[int, str] = {}
    signal.signal(signal.SIGCHLD, lambda *_: _bury(keepers, report))
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            order = Order.from_json(line.decode())
            # Until the keeper has its handlers, and until it is known here, these have to wait.
            signal.pthread_sigmask(signal.SIG_BLOCK, KEPT_SIGNALS)
            if not (pid := os.fork()):
                # Orders for which nobody is left shall fail at once.
                lines.close()
                _keep(order, lifeline, report, body)
            keepers[pid] = order.key
            write_message(report, order.key, {"keeper": pid})
            signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT_SIGNALS)


def _bury(keepers: dict[int, str], report: int) -> None:
    """A keeper that was killed could not see to its job's processes: they are children of this process now."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            key = keepers.pop(found[0], None)
            if key and found[1]:
                process_tree.kill_descendants(os.getpid(), lambda: None, spared=keepers)
                write_message(report, key, {"exit": Exit("orphaned").__dict__})


def _keep(order: Order, lifeline: int, report: int, body: Body) -> NoReturn:
    try:

        def tell(message: Mapping[str, Any]) -> None:
            write_message(report, order.key, dict(message))

        Keeper(order, lifeline, report).run(lambda asked: body(asked, tell))
    except BaseException as e:
        write_message(report, order.key, {"reason": f"the keeper failed: {type(e).__name__}: {e}"})
        write_message(report, order.key, {"exit": Exit("orphaned").__dict__})
    finally:
        os._exit(0)
