"""Handlers of events: declared beside a function, as jobs are.

@on("app.order.*", order_by="order_id")
def note_order(ctx: EventContext) -> None:
    ctx.execute("INSERT INTO order_log VALUES (:id, :at)", id=ctx.event.data["order_id"], at=ctx.event.time)
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from clockmill.durations import parse_duration
from clockmill.errors import ConfigError
from db.output_spec import OutputSpec

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
OUR_OWN = "clockmill."
ACK = ("late", "early")
#: A broker's routing key and a binding's pattern have at most so many bytes.
LONGEST_TYPE = 255
#: While an event waits for its next attempt its successors are held unanswered, which a broker allows for 30 minutes.
MOST_RETRIES_IN_ORDER = 10
#: What a field of an event's data may be declared to be.
FIELDS: Mapping[str, tuple[type, ...]] = {
    "id": (int, str),
    "int": (int,),
    "float": (int, float),
    "text": (str,),
    "bool": (bool,),
    "list": (list,),
    "object": (dict,),
}

#: Takes a clockmill.exchange.context.EventContext, which stands above.
HandlerFunction = Callable[[Any], None]


@dataclass(frozen=True)
class HandlerSpec:
    """What becomes of events of some types."""

    name: str
    #: Routing keys; `*` is one word, `#` any number of them.
    patterns: tuple[str, ...]
    function: HandlerFunction
    #: late: the message is answered for when its effect is committed; whatever dies before, it comes again, and its
    #: effect is there once. early: when it has arrived; quicker, and lost when the process dies.
    ack: str = "late"
    #: A field of the data: events with the same value of it are handled one after the other, in the order they came.
    order_by: str | None = None
    #: Further attempts after a failed one; then the event is set aside with the reason.
    retries: int = 5
    #: Longer than this, and the process that handles it is replaced.
    timeout: timedelta = timedelta(seconds=30)
    #: So many events at once, in `ctx.events`, and one transaction for them.
    batch: int = 1
    #: A batch that is not full waits so long for more.
    gather: timedelta = timedelta(0)
    #: Fields that the data must have, and what they are: id, int, float, text, bool, list, object.
    data: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[OutputSpec, ...] = ()
    #: Where it was found: a module or a file.
    origin: str = ""

    def __post_init__(self) -> None:
        where = f"handler {self.name}"
        if not NAME.fullmatch(self.name):
            raise ConfigError(f'handler "{self.name}": a name is {NAME.pattern}')
        check_patterns(self.patterns, where)
        if self.ack not in ACK:
            raise ConfigError(f'{where}: ack = "{self.ack}"; allowed: {", ".join(ACK)}')
        if self.batch < 1 or self.retries < 0 or self.timeout <= timedelta(0):
            raise ConfigError(f"{where}: batch must be 1 or more, retries 0 or more, timeout longer than 0 s")
        if self.batch > 1 and self.order_by:
            raise ConfigError(f"{where}: batch and order_by exclude each other: a batch is handled as one, in order")
        if self.order_by and self.retries > MOST_RETRIES_IN_ORDER:
            raise ConfigError(
                f"{where}: retries = {self.retries}; in order at most {MOST_RETRIES_IN_ORDER}: others wait"
            )
        for name, kind in self.data.items():
            if kind not in FIELDS:
                raise ConfigError(f'{where}: data.{name} = "{kind}"; allowed: {", ".join(FIELDS)}')

    @property
    def ordered(self) -> bool:
        """Whether one process at a time consumes: events of a key, or batches, follow each other."""
        return self.order_by is not None or self.batch > 1


def check_patterns(patterns: Sequence[str], where: str) -> None:
    """Raises ConfigError for what is no pattern of event types."""
    if not patterns:
        raise ConfigError(f"{where}: it names no type of events; write for instance app.order.*")
    for pattern in patterns:
        words = pattern.split(".") if isinstance(pattern, str) else [""]
        wrong = not all(words) or any(c.isspace() or ord(c) < 32 for c in str(pattern))
        if wrong or any(len(word) > 1 and ("*" in word or "#" in word) for word in words):
            raise ConfigError(f'{where}: "{pattern}" is no pattern of event types; words, * and # between dots')
        if len(pattern.encode()) > LONGEST_TYPE:
            raise ConfigError(f"{where}: a pattern has at most {LONGEST_TYPE} bytes")


def on(
    *patterns: str,
    name: str | None = None,
    ack: str = "late",
    order_by: str | None = None,
    retries: int = 5,
    timeout: str | timedelta = timedelta(seconds=30),
    batch: int = 1,
    gather: str | timedelta = timedelta(0),
    data: Mapping[str, str] | None = None,
    outputs: Sequence[OutputSpec] = (),
) -> Callable[[HandlerFunction], HandlerFunction]:
    """Declares a function to handle events of these types; see HandlerSpec for each setting."""

    if name is not None and name.startswith(OUR_OWN):
        raise ConfigError(f'handler "{name}": names that begin with {OUR_OWN} are clockmill\'s own')

    def declare(function: HandlerFunction) -> HandlerFunction:
        function.clockmill_handler = HandlerSpec(  # type: ignore[attr-defined]
            name=name or function.__name__,
            patterns=patterns,
            function=function,
            ack=ack,
            order_by=order_by,
            retries=retries,
            timeout=timeout if isinstance(timeout, timedelta) else parse_duration(timeout),
            batch=batch,
            gather=gather if isinstance(gather, timedelta) else parse_duration(gather),
            data=dict(data or {}),
            outputs=tuple(outputs),
            origin=function.__module__,
        )
        return function

    return declare
