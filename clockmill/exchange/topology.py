"""Every exchange and queue that clockmill uses, with its type and arguments: the whole topology is in this file.

    clockmill.events     topic    app.friendship.created ...   -> clockmill.on.HANDLER, clockmill.job.JOB
    clockmill.commands   direct   POOL, requests               -> clockmill.pool.POOL, clockmill.requests
    clockmill.broadcast  fanout   reload, pause, cancel        -> one queue for each living process
    clockmill.resources  headers  what a run needs             -> clockmill.resources.OFFER
        └── clockmill.unroutable  fanout: what no worker offers -> clockmill.unroutable
    clockmill.retry.N    fanout   waits N, then back to the queue it came from
    clockmill.dead       fanout   poison, with the reason      -> clockmill.dead

Queues are quorum queues: replicated in a cluster, with a delivery limit and a dead-letter exchange. Where messages have
priorities they are classic, because quorum queues of RabbitMQ 3 know none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EVENTS = "clockmill.events"
COMMANDS = "clockmill.commands"
BROADCAST = "clockmill.broadcast"
RESOURCES = "clockmill.resources"
UNROUTABLE = "clockmill.unroutable"
DEAD = "clockmill.dead"
REQUESTS = "clockmill.requests"
RETRY = "clockmill.retry."
HANDLER = "clockmill.on."
TRIGGER = "clockmill.job."
POOL = "clockmill.pool."
OFFER = "clockmill.resources."
#: The pool of jobs that name none.
DEFAULT_POOL = "default"

#: Seconds before the second, third ... attempt at a message; the last one stands for all that follow.
RETRY_DELAYS_S = (1, 5, 30, 120, 600)
#: A message that was delivered so often without an answer has killed its consumers: the broker sets it aside.
DELIVERY_LIMIT = 20
#: Priorities of classic queues: 0 to this; each costs the broker a queue of its own.
MAX_PRIORITY = 9

#: What a message's header says of a resource that its run does not need.
NOT_NEEDED = "no"
NEEDED = "yes"


@dataclass(frozen=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Binding:
    """From an exchange, for messages with this routing key, pattern or headers."""

    exchange: str
    key: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Queue:
    """A durable queue and what is bound to it. `handles`: what its messages are for, in words."""

    name: str
    arguments: Mapping[str, Any]
    bindings: tuple[Binding, ...] = ()
    handles: str = ""


@dataclass(frozen=True)
class Topology:
    """What has to be there before the first message is sent."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]


def topology(
    handlers: Iterable[tuple[str, Sequence[str], bool]] = (),
    triggers: Iterable[tuple[str, Sequence[str]]] = (),
    pools: Iterable[str] = (),
    offers: Iterable[Sequence[str]] = (),
    labels: Sequence[str] = (),
) -> Topology:
    """Everything for these handlers (name, patterns, whether ordered), jobs that events trigger (name, patterns),
    pools, and offers of workers among the known resource labels."""
    exchanges = (
        Exchange(EVENTS, "topic"),
        Exchange(COMMANDS, "direct"),
        Exchange(BROADCAST, "fanout"),
        Exchange(RESOURCES, "headers", {"alternate-exchange": UNROUTABLE}),
        Exchange(UNROUTABLE, "fanout"),
        Exchange(DEAD, "fanout"),
        *(Exchange(retry_name(seconds), "fanout") for seconds in RETRY_DELAYS_S),
    )
    queues = (
        Queue(DEAD, kept(), (Binding(DEAD),), "poison"),
        Queue(UNROUTABLE, kept(), (Binding(UNROUTABLE),), "runs whose needs no worker offers"),
        Queue(REQUESTS, quorum(), (Binding(COMMANDS, REQUESTS),), "runs asked for by applications"),
        *(retry_queue(seconds) for seconds in RETRY_DELAYS_S),
        *(trigger_queue(job, patterns) for job, patterns in triggers),
        *(handler_queue(name, patterns, ordered) for name, patterns, ordered in handlers),
        *(pool_queue(pool, priority) for pool in dict.fromkeys((DEFAULT_POOL, *pools)) for priority in (False, True)),
        *(offer_queue(offer, labels) for offer in offers),
    )
    return Topology(exchanges, queues)


# -- kinds of queues


def quorum(**more: Any) -> dict[str, Any]:
    """Work: delivered until somebody answers for it, then set aside with the reason."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        **_dead_letters_to(DEAD),
        **more,
    }


def kept() -> dict[str, Any]:
    """What waits for a person: never thrown away by a limit."""
    return {"x-queue-type": "quorum"}


def classic_with_priority() -> dict[str, Any]:
    """Work of which some is more urgent."""
    return {"x-queue-type": "classic", "x-max-priority": MAX_PRIORITY, "x-dead-letter-exchange": DEAD}


def _dead_letters_to(exchange: str) -> dict[str, Any]:
    # At least once: the broker keeps a dead letter until its new queue has it; it asks for reject-publish.
    return {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


# -- queues


def handler_queue(name: str, patterns: Sequence[str], ordered: bool) -> Queue:
    """One for each handler, so that a slow one holds up no other. In order: one process at a time consumes it."""
    arguments = quorum(**({"x-single-active-consumer": True} if ordered else {}))
    return Queue(HANDLER + name, arguments, tuple(Binding(EVENTS, p) for p in patterns), f"events for {name}")


def trigger_queue(job: str, patterns: Sequence[str]) -> Queue:
    """Events that trigger a job, in order. Its own queue: only who knows the job consumes it."""
    arguments = quorum(**{"x-single-active-consumer": True})
    return Queue(TRIGGER + job, arguments, tuple(Binding(EVENTS, p) for p in patterns), f"events that trigger {job}")


def pool_queue(pool: str, priority: bool = False) -> Queue:
    """Runs of a pool's jobs; those of jobs with a priority have a queue of their own."""
    name = pool_name(pool, priority)
    arguments = classic_with_priority() if priority else quorum()
    return Queue(name, arguments, (Binding(COMMANDS, name),), f"runs of pool {pool}")


def pool_name(pool: str, priority: bool = False) -> str:
    return f"{POOL}{pool}{'.priority' if priority else ''}"


def retry_queue(seconds: int) -> Queue:
    """Holds a message, then hands it to the queue that its routing key names."""
    arguments = {"x-queue-type": "quorum", "x-message-ttl": seconds * 1000, **_dead_letters_to("")}
    return Queue(retry_name(seconds), arguments, (Binding(retry_name(seconds)),), f"retries after {seconds} s")


def retry_name(seconds: int) -> str:
    return f"{RETRY}{seconds}s"


def retry_delay(attempt: int) -> int:
    """Seconds to wait after the attempt with this number, from 1."""
    return RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S)) - 1]


# -- resources
#
# A binding of a headers exchange matches a message that has all its headers, and perhaps more. A worker must get what
# needs no more than it offers; so each message says of every known label whether it is needed, and a worker's binding
# asks that those it does not offer are not.


def offer_queue(offer: Sequence[str], labels: Sequence[str], match: str = "all") -> Queue:
    """The queue that workers with the same offer share. `match` "any": a message that needs one of the offered."""
    offered = sorted(set(offer))
    name = OFFER + (".".join(offered) or "none")
    if match == "any":
        arguments = {"x-match": "any", **dict.fromkeys(offered, NEEDED)}
        name += ".any"
    else:
        arguments = {"x-match": "all", **{label: NOT_NEEDED for label in labels if label not in offered}}
    return Queue(name, quorum(), (Binding(RESOURCES, "", arguments),), f"runs for workers with {', '.join(offered)}")


def needs_headers(needs: Iterable[str], labels: Sequence[str]) -> dict[str, str]:
    """The headers of a message whose run needs these of the known labels. Raises ValueError for an unknown one."""
    wanted = set(needs)
    if unknown := sorted(wanted - set(labels)):
        raise ValueError(f'no worker can offer "{unknown[0]}"; [broker] labels: {", ".join(labels) or "none"}')
    return {label: NEEDED if label in wanted else NOT_NEEDED for label in labels}


def wanted(asked: Topology) -> set[tuple[str, str]]:
    """Which queues hear which events: (queue, pattern)."""
    return {(queue.name, one.key) for queue in asked.queues for one in queue.bindings if one.exchange == EVENTS}
