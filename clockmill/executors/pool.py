"""The executors of one process: each order goes to the one that its job names."""

import threading
from dataclasses import dataclass, field

from clockmill.errors import ClockmillError
from clockmill.executors.order import Body, Cause, Exit, Order, Tell
from clockmill.executors.seed import Seed
from clockmill.executors.warm_parent import WarmParent


@dataclass
class Watched:
    """One attempt in a thread."""

    done: threading.Event = field(default_factory=threading.Event)
    cause: Cause = "exit"
    code: int | None = None


class Executors:
    """process and command: below the warm parent. thread: here, for light trusted jobs."""

    def __init__(self, body: Body, seed: Seed | None = None, warm: WarmParent | None = None) -> None:
        """Forks the warm parent at once: make this before anything is opened. `seed`: later ones grow from it."""
        self._warm = warm or WarmParent(body, apart=[seed.fileno()] if seed else [])
        self._body = body
        self._seed = seed
        #: Attempts in threads, and whether each was asked to end.
        self._threads: dict[str, Watched] = {}

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
        self._warm.close()
        if self._seed:
            self._seed.close()

    def _in_thread(self, order: Order, tell: Tell) -> Exit:
        watched = self._threads[order.key] = Watched()

        def work() -> None:
            watched.code = self._body(order, tell)
            watched.done.set()

        threading.Thread(target=work, name=f"run-{order.run_id}", daemon=True).start()
        in_time = watched.done.wait(order.timeout_s)
        del self._threads[order.key]
        return Exit(watched.cause, watched.code) if in_time else Exit("timeout")
