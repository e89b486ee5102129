"""What a handler of events is given: the events, and all that a job has to read and to publish with.

Whatever it changes is collected while it runs, and carried out in one transaction with the record that its events were
handled: what dies before has changed nothing, and what comes again afterwards changes nothing more.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from clockmill.bell import ring
from clockmill.context import Context
from clockmill.doors import know
from clockmill.durations import parse_duration
from clockmill.errors import JobError
from clockmill.exchange.cloudevents import Event
from clockmill.handler_spec import HandlerSpec
from clockmill.job_spec import JobSpec
from clockmill.slots import micros
from db import engine as transactions
from db import source_rows
from db.canonical import own_kinds
from db.columns import Columns, length
from db.output_spec import OutputSpec, resolve
from db.outputs import Build, Published
from db.refresh import Refresh
from db.run import Claim
from db.triggers import Asked, ask

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from clockmill.mill import Mill

#: No run is full of events that it does not read.
MANY = 1_000_000

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
        self.refused: dict[str, str] = {}

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

    @property
    def memory(self) -> dict[str, Any]:
        """What the handler wants to find again when this process calls it next; gone with the process."""
        return self._mill.memories.setdefault(self.job, {})

    def execute(self, statement: str, values: Mapping[str, Any] | None = None, **more: Any) -> None:
        """One SQL statement with :named values, carried out in the transaction that ends the handling."""
        bound = {**(values or {}), **more}
        self.effect(lambda connection: connection.execute(text(statement), bound))

    # -- the rows that events tell of

    def apply(self, source: str, put: Sequence[Mapping[str, Any]] = (), gone: Sequence[tuple[Any, ...]] = ()) -> bool:
        """Keeps rows of a source, and removes those of some keys, in the transaction that ends the handling.

        Only where the source is clockmill's own table. False where it is mapped to the application's, which are never
        written: there an event is a hint, and `lookup` tells what is true.
        """
        if self._spec_of(source).is_mapped:
            return False
        if self._has_table(source, put):
            self.effect(lambda connection: source_rows.apply(connection, source, put, gone))
        return True

    def _has_table(self, source: str, put: Sequence[Mapping[str, Any]]) -> bool:
        """Whether there is one; the first row makes it."""
        with transactions.read(self._mill.engine) as connection:
            kinds = own_kinds(connection, source)
        if kinds is not None:
            for name, kind in kinds.items():
                if any(isinstance(row[name], str) != (kind == "text") for row in put):
                    raise JobError(
                        f"{source}.{name} holds {'texts' if kind == 'text' else 'whole numbers'}, nothing else"
                    )
            return True
        if put:
            with transactions.write(self._mill.engine) as connection:
                source_rows.make(connection, source, put[0])
        return bool(put)

    def lookup(self, source: str, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        """The rows of a source that have these keys, by key. What `apply` is to change is not among them yet."""
        spec = self._spec_of(source)
        with self.phase("read"):
            return source_rows.find(self._mill.source_engine(spec.url, f"sources.{source}"), spec, keys)

    def effect(self, change: "Callable[[Connection], object]") -> None:
        """A function that is given the transaction's connection (SQLAlchemy), and may be called again if it fails."""
        self._effects.append(change)

    # -- what follows

    def start(self, job: str, after: str = "0s") -> None:
        """Asks for a run of a job when the handling stands: one for all that ask before nobody has for a while.

        `after` is that while, "10s"; after ten times as long it starts in any case. A job that is at work needs
        `overlap = "queue_one"`, or the run is skipped. Nothing for a job that is disabled.
        """
        spec = self._mill.registry.jobs.get(job)
        if spec is not None:
            wait = round(parse_duration(after).total_seconds() * 1e6)
            keys = (f"e:{self.job}:{self.event.id}"[:191],)
            order = spec.order_key({})
            self.ask(spec, Asked(job, keys, priority=spec.priority, order_key=order, debounce_us=wait, batch=MANY))

    def ask(self, spec: JobSpec, asked: Asked) -> None:
        """For clockmill's own handlers."""
        mill = self._mill
        know(mill, spec, self.now)
        self.effect(lambda connection: ask(connection, asked, micros(mill.now())))
        self.afterwards(lambda: ring(mill.config.var))

    def refuse(self, event: Event, reason: str) -> None:
        """Sets one event of a batch aside, with the reason; no attempt would help it, and the others go on."""
        self.refused[event.unique] = reason

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

    def _begun(self, declared: OutputSpec, columns: Columns, only: Sequence[Any] | None) -> Build:
        if only is not None:
            refresh = Refresh.of(self._mill.engine, resolve(declared, columns), max(length(columns), len(only)))
            if refresh is not None:
                # What was computed is compared with what it was computed from.
                refresh.base = self._looked.get(declared.name, refresh.base)
                return refresh
        return super()._begun(declared, columns, only)

    def commit(self, connection: "Connection", built_at: datetime) -> list[Published]:
        for change in self._effects:
            change(connection)
        return super().commit(connection, built_at)
