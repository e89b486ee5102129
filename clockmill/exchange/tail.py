"""Events as they come by, for a person: a queue of one's own that is gone with its connection."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from clockmill.exchange.broker import opened, translated
from clockmill.exchange.topology import EVENTS


def watch(
    url: str, pattern: str, count: int | None = None, seconds: float | None = None
) -> Iterator[tuple[datetime, str, bytes]]:
    """(when it came, routing key, body) of each event; ends after `count` of them or so many seconds."""
    until = None if seconds is None else time.monotonic() + seconds
    with opened(url, "clockmill events tail") as connection, translated(url):
        channel = connection.channel()
        channel.exchange_declare(EVENTS, "topic", durable=True, auto_delete=False)
        queue = channel.queue_declare("", exclusive=True, auto_delete=True, durable=False).queue
        channel.queue_bind(queue, EVENTS, pattern)
        heard: list[Any] = []
        channel.basic_consume(queue, no_ack=True, callback=heard.append)
        while (count is None or count > 0) and (until is None or time.monotonic() < until):
            try:
                connection.drain_events(timeout=0.2)
            except TimeoutError:
                connection.heartbeat_check()
            for message in heard[:count]:
                yield datetime.now(UTC), message.delivery_info["routing_key"], bytes_of(message.body)
                count = None if count is None else count - 1
            heard.clear()


def bytes_of(body: Any) -> bytes:
    """py-amqp gives a text where the sender named an encoding."""
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")
