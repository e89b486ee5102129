"""What a handler of events is given: the events, and all that a job has to read and to publish with.

Whatever it changes is collected while it runs, and carried out in one transaction with the record that its events were
handled: what dies before has changed nothing, and what comes again afterwards changes nothing more.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from clockmill.context import Context
from clockmill.exchange.cloudevents import Event
from clockmill.handler_spec import HandlerSpec
from clockmill.job_spec import JobSpec
from db.outputs import Published
from db.run import Claim

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from clockmill.mill import Mill

log = logging.getLogger("clockmill.handlers")


class EventContext(Context):
    """One attempt at some events, as their handler's function sees it.

    event: the event, or the first of a batch. events: all of them, in the order they came.
    """

    def __init__(self, mill: "Mill", spec: HandlerSpec, events: Sequence[Event], now: datetime) -> None:
        job = JobSpec(spec.name, function=spec.function, outputs=spec.outputs)
        claim = Claim(0, spec.name, None, f"e:{events[0].id}", "event", 1, 0, 0, mill.owner, {})
        super().__init__(mill, job, claim, now, lambda _: None)
        # No run stands behind what a handler publishes.
        self.run_id = self.fence = None  # type: ignore[assignment]
        self._events = list(events)
        self._effects: list[Callable[[Connection], object]] = []
        self._afterwards: list[Callable[[], object]] = []

    @property
    def mill(self) -> "Mill":
        """For clockmill's own handlers."""
        return self._mill

    @property
    def event(self) -> Event:
        return self._events[0]

    @property
    def events(self) -> list[Event]:
        return self._events

    def execute(self, statement: str, values: Mapping[str, Any] | None = None, **more: Any) -> None:
        """One SQL statement with :named values, carried out in the transaction that ends the handling."""
        bound = {**(values or {}), **more}
        self.effect(lambda connection: connection.execute(text(statement), bound))

    def effect(self, change: "Callable[[Connection], object]") -> None:
        """A function that is given the transaction's connection (SQLAlchemy), and may be called again if it fails."""
        self._effects.append(change)

    def afterwards(self, act: Callable[[], object]) -> None:
        """Called when the transaction stands, or never: for hints that may be lost."""
        self._afterwards.append(act)

    def committed(self) -> None:
        """For whoever has committed."""
        for act in self._afterwards:
            act()

    def log(self, text: str) -> None:
        """One line in the log of the process that handles events."""
        log.info("%s: %s", self.job, text)

    def commit(self, connection: "Connection", built_at: datetime) -> list[Published]:
        for change in self._effects:
            change(connection)
        return super().commit(connection, built_at)
