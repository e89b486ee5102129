"""Messages handed to the broker, each answered for: confirmed, returned because nobody wants it, or refused."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clockmill.errors import BrokerUnavailable
from clockmill.exchange import broker
from clockmill.exchange.cloudevents import CONTENT_TYPE

#: The broker has so long to confirm what it was given.
CONFIRM_S = 30.0
#: How long one wait for its answer may be: a stop or an alarm is noticed then.
LOOK_S = 0.5
#: How the answer begins for a message that was returned.
NOBODY = "no queue is bound"


@dataclass(frozen=True)
class Letter:
    """One message. `id` is the event's, if it is one: the broker's own headers show it."""

    body: bytes | str
    exchange: str
    key: str
    id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = CONTENT_TYPE
    priority: int | None = None


class Publisher:
    """One connection that only publishes: an alarm at the broker stops publishers, and nobody else must wait there."""

    def __init__(self, url: str, purpose: str, told: Callable[[str], None] = lambda _: None) -> None:
        """Opens nothing yet. `told` hears why the broker takes no messages at present; "" when it does again."""
        self.url = url
        self.purpose = purpose
        self.told = told
        self.blocked = ""
        self._connection: Any = None
        self._channel: Any = None
        self._number = 0
        self._pending: dict[int, int] = {}
        self._answers: list[str] = []
        self._index: dict[str, int] = {}

    def send(self, letters: Sequence[Letter]) -> list[str]:
        """An answer for each: "" when the broker has taken it, else why not.

        Raises BrokerUnavailable when it does not answer; then some may have been taken, and some not.
        """
        with broker.translated(self.url):
            try:
                self._open()
                return self._send(letters)
            except BaseException:
                self.close()
                raise

    def beat(self) -> None:
        """To be called while there is nothing to send: a connection that says nothing is closed by the broker."""
        if self._connection is None:
            return
        try:
            self._connection.heartbeat_check()
            self._connection.drain_events(timeout=0.0001)
        except TimeoutError:
            return
        except Exception as e:
            # The next letter opens another.
            self.close()
            if not broker.is_outage(e):
                raise

    def close(self) -> None:
        if self._connection is not None:
            made, self._connection, self._channel = self._connection, None, None
            broker.close(made)

    # -- one flight

    def _send(self, letters: Sequence[Letter]) -> list[str]:
        self._answers = [""] * len(letters)
        self._pending.clear()
        self._index = {str(i): i for i in range(len(letters))}
        for i, letter in enumerate(letters):
            self._number += 1
            self._pending[self._number] = i
            self._channel.basic_publish(
                self._message(letter, i), exchange=letter.exchange, routing_key=letter.key, mandatory=True
            )
        if not self._confirms:
            return self._answers
        until = time.monotonic() + CONFIRM_S
        while self._pending:
            if time.monotonic() > until:
                why = self.blocked or "no confirmation"
                raise BrokerUnavailable(f"[broker] url: {broker.masked(self.url)}: {why} for {CONFIRM_S:.0f} s")
            try:
                self._connection.drain_events(timeout=LOOK_S)
            except TimeoutError:
                self._connection.heartbeat_check()
        return self._answers

    def _message(self, letter: Letter, i: int) -> Any:
        properties: dict[str, Any] = {"delivery_mode": 2, "timestamp": int(time.time()), "app_id": "clockmill"}
        if letter.id is not None:
            properties["message_id"] = letter.id
        # A message that comes back is known by this alone.
        properties["correlation_id"] = str(i)
        return self._channel.prepare_message(
            letter.body,
            priority=letter.priority,
            content_type=letter.content_type,
            content_encoding="utf-8",
            headers=dict(letter.headers),
            properties=properties,
        )

    # -- the connection

    def _open(self) -> None:
        if self._connection is not None:
            return
        self._connection = broker.connection(self.url, self.purpose, self._hear_blocked)
        self._channel = self._connection.channel()
        self._number = 0
        self._confirms = hasattr(self._channel, "confirm_select")
        if self._confirms:
            self._channel.confirm_select()
            self._channel.events["basic_ack"].add(self._taken)
            self._channel.events["basic_nack"].add(self._refused)
            self._channel.events["basic_return"].add(self._returned)

    def _hear_blocked(self, why: str) -> None:
        self.blocked = why
        self.told(why)

    def _taken(self, number: int, multiple: bool) -> None:
        self._settle(number, multiple, None)

    def _refused(self, number: int, multiple: bool) -> None:
        self._settle(number, multiple, "the broker refused it: its queue is full or has no leader")

    def _settle(self, number: int, multiple: bool, answer: str | None) -> None:
        for one in [n for n in self._pending if n <= number] if multiple else [number]:
            i = self._pending.pop(one, None)
            if i is not None and answer:
                self._answers[i] = answer

    def _returned(self, error: Any, exchange: str, key: str, message: Any) -> None:
        # The return comes before the confirmation of the same message.
        i = self._index.get(str(message.properties.get("correlation_id")))
        if i is not None:
            self._answers[i] = f"{NOBODY} to {exchange} for {key}"
