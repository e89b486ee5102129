"""Events and their effects: a group of them, one transaction. Knows the database, and no broker."""

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from clockmill.errors import ClockmillError
from clockmill.exchange.cloudevents import BadEvent, Event
from clockmill.exchange.context import EventContext
from clockmill.exchange.outgoing import indexable
from clockmill.handler_spec import HandlerSpec
from clockmill.mill import Mill
from clockmill.slots import micros
from db import inbox
from db.errors import DatabaseUnavailable, Overtaken, RedisUnavailable, StoreError
from db.publish import make_up

#: So often a handler is called again because an output that it publishes to has moved on meanwhile.
TRIES = 5

log = logging.getLogger("clockmill.handlers")


class _Away(Exception):
    """The database does not answer."""


@dataclass(frozen=True)
class Result:
    """What became of one event. `state`: done, seen (it was handled before), failed, refused (no attempt would help)
    or away (the database; it is no attempt)."""

    state: str
    reason: str = ""


@dataclass
class Group:
    """Events of one handler that share a transaction."""

    mill: Mill
    spec: HandlerSpec
    events: Sequence[Event]
    #: Told before each call of the function: which events it is given.
    begins: Callable[[Sequence[Event]], None] = lambda _: None
    results: dict[str, Result] = field(default_factory=dict)

    def handle(self) -> list[Result]:
        """A result for each event, in order. Never raises for what a handler or the database does."""
        try:
            self._handle()
        except _Away as e:
            self._rest("away", str(e))
        except Exception as e:
            log.exception("handler %s", self.spec.name)
            self._rest("failed", sentence(e))
        return [self.results[event.unique] for event in self.events]

    def _handle(self) -> None:
        fresh = {event.unique: event for event in self.events}
        try:
            self._leave_out_seen(fresh)
        except DatabaseUnavailable as e:
            raise _Away(str(e)) from None
        if self.spec.batch > 1:
            self._as_one(list(fresh.values()))
        else:
            self._each(list(fresh.values()))

    def _leave_out_seen(self, fresh: dict[str, Event]) -> None:
        keys = {indexable(unique): unique for unique in fresh}
        for key in inbox.seen(self.mill.engine, self.spec.name, list(keys)):
            self.results[keys[key]] = Result("seen")
            del fresh[keys[key]]

    def _rest(self, state: str, reason: str) -> None:
        for event in self.events:
            self.results.setdefault(event.unique, Result(state, reason))

    # -- one call for several events

    def _as_one(self, events: list[Event]) -> None:
        if not events:
            return
        try:
            self._commit([self._call(events)])
        except Exception as e:
            self._raise_if_away(e)
            if len(events) == 1:
                self._fail(events[0], e)
                return
            # One of them may be to blame; the others must not suffer for it.
            for event in events:
                self._as_one([event])

    # -- one call for each event, one transaction for all

    def _each(self, events: list[Event]) -> None:
        called: list[EventContext] = []
        for event in events:
            try:
                context = self._call([event])
                if context.published:
                    # Two builds of one output cannot be under way at once.
                    self._commit([context])
                else:
                    called.append(context)
            except Exception as e:
                self._fail(event, e)
        try:
            self._commit(called)
        except Exception as e:
            self._raise_if_away(e)
            if len(called) == 1:
                self._fail(called[0].event, e)
                return
            for context in called:
                self._alone(context)

    def _alone(self, context: EventContext) -> None:
        try:
            self._commit([context])
        except Exception as e:
            self._fail(context.event, e)

    # -- steps

    def _call(self, events: list[Event]) -> EventContext:
        context = EventContext(self.mill, self.spec, events, self.mill.now())
        self.begins(events)
        self.spec.function(context)
        return context

    def _commit(self, contexts: list[EventContext]) -> None:
        """Records and carries out; what another process was quicker with is left out, and called no more."""
        tries = 0
        while contexts:
            now = self.mill.now()
            events = {
                indexable(event.unique): event
                for context in contexts
                for event in context.events
                if event.unique not in context.refused
            }
            try:
                if events:
                    self._transact(contexts, list(events), now)
            except Overtaken:
                tries += 1
                if tries == TRIES:
                    raise
                contexts = [self._call(context.events) for context in contexts]
                continue
            except inbox.Seen as e:
                for key in e.events:
                    self.results[events[key].unique] = Result("seen")
                contexts = self._without(contexts, {events[key].unique for key in e.events})
                continue
            for event in events.values():
                self.results[event.unique] = Result("done")
            for context in contexts:
                self.results |= {unique: Result("refused", why) for unique, why in context.refused.items()}
            self._mirror(contexts)
            for context in contexts:
                context.committed()
            return

    def _transact(self, contexts: list[EventContext], keys: list[str], now: datetime) -> None:
        inbox.handle(
            self.mill.engine,
            self.spec.name,
            keys,
            uuid.uuid4().hex,
            micros(now),
            lambda connection: [context.commit(connection, now) for context in contexts],
        )

    def _without(self, contexts: list[EventContext], seen: set[str]) -> list[EventContext]:
        left = []
        for context in contexts:
            events = [event for event in context.events if event.unique not in seen]
            if len(events) == len(context.events):
                left.append(context)
            elif events:
                left.append(self._call(events))
        return left

    def _raise_if_away(self, error: Exception) -> None:
        """Raises _Away when the database does not answer at all: that is no attempt, and nobody's fault.

        SQLite calls a table that is missing by the same name as a disk that is gone: it is asked something else.
        """
        if isinstance(error, DatabaseUnavailable | _Away):
            try:
                inbox.seen(self.mill.engine, self.spec.name, [])
            except DatabaseUnavailable as e:
                raise _Away(str(e)) from None

    def _fail(self, event: Event, error: Exception) -> None:
        self._raise_if_away(error)
        state = "refused" if isinstance(error, BadEvent) else "failed"
        self.results[event.unique] = Result(state, sentence(error))

    def _mirror(self, contexts: Sequence[EventContext]) -> None:
        builds = {name: build for context in contexts for name, build in context.published.items()}
        if not builds:
            return
        mirror, _ = self.mill.mirror_or_reason()
        try:
            if mirror is not None:
                make_up(self.mill.engine, mirror, builds)
        except RedisUnavailable as e:
            log.warning("Redis is owed what %s published: %s", self.spec.name, e)


def sentence(error: BaseException) -> str:
    """Why it failed, for the headers of a message: foreseen errors by their own words."""
    words = (
        str(error) if isinstance(error, ClockmillError | StoreError | BadEvent) else f"{type(error).__name__}: {error}"
    )
    return words.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()[:2000]
