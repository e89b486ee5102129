"""Events as CloudEvents 1.0 in JSON: any language can read and write them, and what it wrote is looked at closely.

https://github.com/cloudevents/spec, structured mode: the body is
{"specversion": "1.0", "id", "source", "type", "time", "partitionkey", "datacontenttype", "data"}.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clockmill.errors import JobError
from clockmill.fetch.strict_json import loads
from clockmill.handler_spec import FIELDS, LONGEST_TYPE
from clockmill.sizes import format_size

CONTENT_TYPE = "application/cloudevents+json"
SPEC = "1.0"
#: An id or source of a stranger may be so long; a longer one is no name of anything.
LONGEST_NAME = 1024
#: Keys of the inbox and of the outbox are indexed: longer ones stand there as their hash.
LONGEST_KEY = 191

#: Control characters and lone surrogates: no database takes all of them.
_UNFIT = re.compile("[\\x00-\\x1f\\x7f\ud800-\udfff]")


class BadEvent(ValueError):
    """What came is no event that can be handled; the message is the reason."""


@dataclass(frozen=True)
class Event:
    """One thing that happened. `data` is what its type says it is; `time` is when, if the sender said so."""

    id: str
    source: str
    type: str
    data: Mapping[str, Any]
    time: datetime | None = None
    #: Events of one key keep their order.
    key: str | None = None
    #: Attributes beyond those of the specification.
    extensions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unique(self) -> str:
        """What tells it apart from all others: an id is unique within its source."""
        return f"{self.source} {self.id}"

    def to_json(self) -> str:
        whole: dict[str, Any] = {"specversion": SPEC, "id": self.id, "source": self.source, "type": self.type}
        if self.time is not None:
            whole["time"] = self.time.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if self.key is not None:
            whole["partitionkey"] = self.key
        whole |= {**self.extensions, "datacontenttype": "application/json", "data": self.data}
        return json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def new_event(type: str, data: Mapping[str, Any], source: str, at: datetime, key: Any = None, limit: int = 0) -> Event:
    """An event of our own. Raises JobError, naming what is wrong with it; `limit`: bytes that it may have."""
    event = Event(str(uuid.uuid4()), source, str(type), data, at, None if key is None else str(key))
    try:
        _check_names(event)
        if not isinstance(data, Mapping):
            raise BadEvent(f"data is {_kind(data)}; expected a table of names and values")
        size = len(event.to_json().encode())
    except (ValueError, TypeError, RecursionError) as e:
        raise JobError(f'event "{str(type)[:80]}": {e}') from None
    if limit and size > limit:
        raise JobError(f'event "{type}" has {size} bytes; [broker] max_event allows {format_size(limit)}')
    return event


def read_event(body: bytes | str, limit: int) -> Event:
    """The event in a message's body. Raises BadEvent, saying what is wrong with it."""
    size = len(body)
    if size > limit:
        raise BadEvent(f"it has {size} bytes; [broker] max_event allows {format_size(limit)}")
    try:
        found = loads(body)
    except ValueError as e:
        raise BadEvent(f"its body is not JSON: {str(e)[:200]}") from None
    if not isinstance(found, dict):
        raise BadEvent(f"its body is {_kind(found)}; expected a CloudEvents 1.0 object")
    if found.pop("specversion", None) != SPEC:
        raise BadEvent(f'it has no specversion "{SPEC}": not a CloudEvents 1.0 object')
    return _from(found)


def _from(found: dict[str, Any]) -> Event:
    names = {name: found.pop(name, None) for name in ("id", "source", "type")}
    for name, value in names.items():
        if not isinstance(value, str) or not value:
            raise BadEvent(f"its {name} is {_kind(value)}; expected a text that is not empty")
    data = found.pop("data", None)
    if not isinstance(data, dict):
        raise BadEvent(f"its data is {_kind(data)}; expected an object")
    found.pop("datacontenttype", None)
    key = found.pop("partitionkey", None)
    time = _time(found.pop("time", None))
    event = Event(**names, data=data, time=time, key=None if key is None else str(key), extensions=found)
    _check_names(event)
    return event


def _check_names(event: Event) -> None:
    for name, value, limit in (
        ("type", event.type, LONGEST_TYPE),
        ("id", event.id, LONGEST_NAME),
        ("source", event.source, LONGEST_NAME),
        ("key", event.key or "", LONGEST_NAME),
    ):
        if _UNFIT.search(value):
            raise BadEvent(f"its {name} has control characters")
        if len(value.encode()) > limit:
            raise BadEvent(f"its {name} has {len(value.encode())} bytes; at most {limit} are allowed")
    if not event.type or any(not word or " " in word for word in event.type.split(".")):
        raise BadEvent(f'its type "{event.type[:80]}" is not words between dots, as in app.order.placed')


def _time(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise BadEvent(f"its time {str(text)[:40]!r} is not an instant as RFC 3339 writes it") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def check_data(event: Event, fields: Mapping[str, str]) -> None:
    """Raises BadEvent unless the data has these fields, of these kinds (see `clockmill.handler_spec.FIELDS`)."""
    for name, kind in fields.items():
        if name not in event.data:
            raise BadEvent(f"its data has no {name}; {event.type} needs {', '.join(fields)}")
        value = event.data[name]
        if not isinstance(value, FIELDS[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise BadEvent(f"its data.{name} is {_kind(value)}; expected {kind}")
        if kind in ("id", "text") and isinstance(value, str) and _UNFIT.search(value):
            raise BadEvent(f"its data.{name} has control characters")


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    if value == "":
        return "an empty text"
    return "missing" if value is None else names.get(type(value), type(value).__name__)
