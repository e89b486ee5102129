"""Messages that were set aside: looked at without taking them away, or sent to where they came from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clockmill.errors import BrokerUnavailable
from clockmill.exchange.broker import opened, translated
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.tail import bytes_of
from clockmill.exchange.topology import DEAD
from clockmill.slots import iso

#: Headers of ours on a message that goes round.
QUEUE, REASON, ATTEMPT, SINCE, TYPE = (f"clockmill-{word}" for word in ("queue", "reason", "attempt", "since", "type"))
#: So much of a reason is kept: a broker's headers share one frame.
LONGEST_REASON = 2000
#: Why the broker itself sets a message aside, in words.
BROKERS_REASONS = {
    "delivery_limit": "its consumers died or lost their connection too often",
    "rejected": "its consumer rejected it",
    "expired": "it waited longer than its queue allows",
    "maxlen": "its queue was full",
}


@dataclass(frozen=True)
class DeadLetter:
    """One message that was set aside."""

    id: str | None
    type: str | None
    queue: str | None
    reason: str
    attempts: int | None
    at: str | None
    size: int
    body: bytes

    def as_object(self) -> dict[str, Any]:
        """As `events dead-letters list --json` prints it; the body where it is not too long."""
        told = {name: value for name, value in vars(self).items() if name != "body"}
        return {**told, "body": self.body[:4000].decode("utf-8", "replace")}


def read(message: Any) -> DeadLetter:
    """What is known of it from its headers, and of a stranger's message from its body."""
    headers = headers_of(message)
    body = bytes_of(message.body)
    death = _first_death(headers)
    reason = headers.get(REASON) or BROKERS_REASONS.get(death.get("reason", ""), death.get("reason", "not known"))
    at = headers.get(SINCE) or _stamp(death.get("time"))
    return DeadLetter(
        id=message.properties.get("message_id") or _id_of(body),
        type=headers.get(TYPE) or next(iter(death.get("routing-keys", [])), None),
        queue=headers.get(QUEUE) or death.get("queue"),
        reason=str(reason),
        attempts=headers.get(ATTEMPT),
        at=at,
        size=len(body),
        body=body,
    )


def headers_of(message: Any) -> Mapping[str, Any]:
    return message.properties.get("application_headers") or {}


def _first_death(headers: Mapping[str, Any]) -> dict[str, Any]:
    deaths = headers.get("x-death")
    # The latest stands first.
    return dict(deaths[0]) if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}


def _stamp(at: Any) -> str | None:
    return iso(at.replace(tzinfo=at.tzinfo or UTC)) if isinstance(at, datetime) else None


def _id_of(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    name = found.get("id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def listed(url: str, limit: int) -> list[DeadLetter]:
    """The oldest so many; they go back when the connection closes."""
    with opened(url, "clockmill events dead-letters") as connection, translated(url):
        return [read(message) for _, message in _taken(connection, limit)]


def send_again(url: str, ids: set[str] | None) -> tuple[int, set[str]]:
    """Sends those with these ids (None: all) to their queues, their attempts forgotten: how many, and unknown ids."""
    sent, unknown = 0, set(ids or ())
    publisher = Publisher(url, "clockmill events dead-letters retry")
    try:
        with opened(url, "clockmill events dead-letters") as connection, translated(url):
            for channel, message in _taken(connection, None):
                letter = read(message)
                if (ids is not None and letter.id not in ids) or not letter.queue:
                    continue
                unknown.discard(letter.id or "")
                headers = {TYPE: letter.type} if letter.type else {}
                kind = message.properties.get("content_type") or "application/octet-stream"
                (problem,) = publisher.send([Letter(letter.body, "", letter.queue, letter.id, headers, kind)])
                if problem:
                    raise BrokerUnavailable(f"dead letter {letter.id}: its queue {letter.queue} is gone: {problem}")
                channel.basic_ack(message.delivery_tag)
                sent += 1
    finally:
        publisher.close()
    return sent, unknown


def _taken(connection: Any, limit: int | None) -> Iterator[tuple[Any, Any]]:
    """Each message once: none goes back while this lasts."""
    channel = connection.channel()
    left = channel.queue_declare(DEAD, passive=True).message_count if limit is None else limit
    while left > 0 and (message := channel.basic_get(DEAD)) is not None:
        left -= 1
        yield channel, message
