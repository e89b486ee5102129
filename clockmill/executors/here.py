"""In the place of a warm parent: orders are carried out by the process that asks, a job's own.

It is watched from outside as it is; what it works at ends with it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clockmill.errors import JobError
from clockmill.executors.order import Body, Exit, Order, Tell


class Here:
    """Each order in the thread that brings it. A thread cannot be ended: it is told so at its next word."""

    def __init__(self, body: Body, end: Callable[[], object] = lambda: None) -> None:
        """`end`: what else is done when an order is to be ended."""
        self._body = body
        self._end = end
        self._ended: set[str] = set()

    def run(self, order: Order, tell: Tell) -> Exit:
        def heard(message: Mapping[str, Any]) -> None:
            if order.key in self._ended and "progress" in message:
                raise JobError("it was asked to end")
            tell(message)

        with Path(order.log).open("a", encoding="utf-8") as log:
            log.write("done by a process that was at work for the same run\n")
        return Exit("exit", self._body(order, heard))

    def end(self, key: str, at_once: bool) -> None:
        self._ended.add(key)
        self._end()

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to let go."""
