"""Events on their way into the outbox."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine

from clockmill.config import Config
from clockmill.exchange.cloudevents import LONGEST_KEY, Event, new_event
from clockmill.sizes import parse_size
from clockmill.slots import micros
from db import engine as transactions
from db import outbox


def max_event(config: Config) -> int:
    """Bytes that an event may have."""
    return parse_size(config.table("broker")["max_event"])


def outbox_row(event: Event) -> dict[str, Any]:
    """The event as the outbox keeps it."""
    return {
        "event_id": event.id,
        "type": event.type,
        "order_key": None if event.key is None else indexable(event.key),
        "body": event.to_json(),
        "kept": 1,
    }


def indexable(key: str) -> str:
    """The key, or its hash where it is longer than databases index."""
    return key if len(key) <= LONGEST_KEY else sha256(key.encode()).hexdigest()


def tell(config: Config, engine: Engine, type: str, data: Mapping[str, Any], key: Any, at: datetime) -> Event:
    """One event by itself, committed to the outbox at once. Raises JobError for what is no event."""
    event = new_event(type, data, f"/clockmill/{config.namespace}", at, key, max_event(config))
    transactions.in_write(engine, lambda connection: outbox.put(connection, [outbox_row(event)], micros(at)))
    return event
