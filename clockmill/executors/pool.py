"""The executors of one process: each order goes to the one that its job names."""

import logging
import threading
from dataclasses import dataclass, field
from queue import SimpleQueue

from clockmill.errors import ClockmillError
from clockmill.executors.here import Here
from clockmill.executors.order import Body, Cause, Exit, Order, Tell
from clockmill.executors.seed import Seed
from clockmill.executors.warm_parent import WarmParent

log = logging.getLogger("clockmill.executors")


@dataclass
class Watched:
    """One attempt in a thread."""

    done: threading.Event = field(default_factory=threading.Event)
    cause: Cause = "exit"
    code: int | None = None


#: What a thread is given: an order, who hears of it, and where its end is noted.
Work = tuple[Order, Tell, Watched]


class Executors:
    """process, command and what Celery brought: below the warm parent. thread: here, for light trusted jobs."""

    def __init__(self, body: Body, seed: Seed | None = None, warm: WarmParent | Here | None = None) -> None:
        """Forks the warm parent at once: make this before anything is opened. `seed`: later ones grow from it."""
        self._warm = warm or WarmParent(body, apart=[seed.fileno()] if seed else [])
        self._body = body
        self._seed = seed
        #: Attempts in threads, and whether each was asked to end.
        self._threads: dict[str, Watched] = {}
        #: Threads that have nothing to do, by what they wait at; None ends one.
        self._idle: list[SimpleQueue[Work | None]] = []
        self._closed = False

    def renewed(self, body: Body, words: str) -> "Executors":
        """Executors with newly loaded code. These go on until they are closed, which does not end the new ones.

        `words`: what the seed loads it by. Raises ClockmillError, and changes nothing, when that fails.
        """
        seed = self._seed
        if seed is None:
            raise ClockmillError("jobs cannot be loaded anew by this process; restart it")
        fresh = Executors(body, seed, WarmParent(body, lambda ends: seed.grow(words, ends)))
        self._seed = None
        return fresh

    def run(self, executor: str, order: Order, tell: Tell) -> Exit:
        """Runs the order to its end, whatever that is."""
        return self._in_thread(order, tell) if executor == "thread" else self._warm.run(order, tell)

    def end(self, order: Order, at_once: bool) -> None:
        """Asks that the order be ended. A thread cannot be: it goes on unwatched, and its fence keeps it out."""
        if watched := self._threads.get(order.key):
            watched.cause = "cancel"
            watched.done.set()
        self._warm.end(order.key, at_once)

    def alive(self) -> bool:
        """False when no process or command can be started any more, by this process."""
        return self._warm.alive()

    def close(self) -> None:
        self._closed = True
        for waiting in self._idle:
            waiting.put(None)
        self._warm.close()
        if self._seed:
            self._seed.close()

    def _in_thread(self, order: Order, tell: Tell) -> Exit:
        watched = self._threads[order.key] = Watched()
        try:
            waiting = self._idle.pop()
        except IndexError:
            waiting = SimpleQueue()
            threading.Thread(target=self._thread, args=(waiting,), name="job", daemon=True).start()
        waiting.put((order, tell, watched))
        in_time = watched.done.wait(order.timeout_s)
        del self._threads[order.key]
        return Exit(watched.cause, watched.code) if in_time else Exit("timeout")

    def _thread(self, waiting: "SimpleQueue[Work | None]") -> None:
        """Runs what it is given. One whose attempt was given up comes back when that attempt has ended after all."""
        while (work := waiting.get()) is not None:
            order, tell, watched = work
            try:
                watched.code = self._body(order, tell)
            except BaseException:
                log.exception("run %d", order.run_id)
                watched.cause = "orphaned"
            self._idle.append(waiting)
            watched.done.set()
            if self._closed:
                return
