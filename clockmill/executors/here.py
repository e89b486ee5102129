"""In the place of a warm parent: orders are carried out by the process that asks, a job's own.

It is watched from outside as it is; what it works at ends with it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clockmill.errors import JobError
from clockmill.executors.order import Body, Exit, Order, Tell


class Here:
    """Each order in the thread that brings it. Nothing ends one but its own next word, or the process's end."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._ended: set[str] = set()

    def run(self, order: Order, tell: Tell) -> Exit:
        def heard(message: Mapping[str, Any]) -> None:
            if order.key in self._ended and "report" not in message:
                raise JobError("it was asked to end")
            tell(message)

        with Path(order.log).open("a", encoding="utf-8") as log:
            log.write("done by the process of the run whose shard it is; see that run's log\n")
        return Exit("exit", self._body(order, heard))

    def end(self, key: str, at_once: bool) -> None:
        self._ended.add(key)

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to let go."""
