"""The executors of one process: each order goes to the one that its job names."""

import threading

from clockmill.errors import ClockmillError
from clockmill.executors.order import Body, Exit, Order, Tell
from clockmill.executors.seed import Seed
from clockmill.executors.warm_parent import WarmParent


class Executors:
    """process and command: below the warm parent. thread: here, for light trusted jobs."""

    def __init__(self, body: Body, seed: Seed | None = None, warm: WarmParent | None = None) -> None:
        """Forks the warm parent at once: make this before anything is opened. `seed`: later ones grow from it."""
        self._warm = warm or WarmParent(body, apart=[seed.fileno()] if seed else [])
        self._body = body
        self._seed = seed

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
        """Asks that the order be ended. A thread cannot be: its run is fenced off instead."""
        self._warm.end(order.key, at_once)

    def alive(self) -> bool:
        """False when no process or command can be started any more, by this process."""
        return self._warm.alive()

    def close(self) -> None:
        self._warm.close()
        if self._seed:
            self._seed.close()

    def _in_thread(self, order: Order, tell: Tell) -> Exit:
        done: list[int] = []

        def work() -> None:
            done.append(self._body(order, tell))

        thread = threading.Thread(target=work, name=f"run-{order.run_id}", daemon=True)
        thread.start()
        thread.join(order.timeout_s)
        if thread.is_alive():
            return Exit("timeout")
        return Exit("exit", code=done[0] if done else 1)
