"""What flows through the queues: noted by each process that handles events, added up for `clockmill queues`."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clockmill.durations import format_duration, parse_duration
from clockmill.exchange import broker
from clockmill.exchange.desk import Desk, Flow, Post
from clockmill.mill import Mill
from clockmill.slots import micros
from db import flows as rows
from db import outbox
from db.flows import Seen

log = logging.getLogger("clockmill.flows")


class Flows:
    """One process's notes."""

    PERIOD_S = 5.0

    def __init__(self, mill: Mill, desk: Desk, url: str) -> None:
        self.mill = mill
        self.desk = desk
        self.url = url
        self.patience = parse_duration(mill.config.table("broker")["alert_after"])
        self.noted = time.monotonic()
        self.alarms: dict[str, str] = {}
        self._connection: Any = None

    def note(self) -> str:
        """Writes what went through since the last time; what is too late, in words, "" for nothing."""
        now, seconds = time.monotonic(), time.monotonic() - self.noted
        self.noted = now
        posts = list(self.desk.posts)
        depths = self._depths([post.queue for post in posts])
        noted = [self._row(post, depths.get(post.queue), seconds) for post in posts]
        rows.put(self.mill.engine, self.mill.owner, noted, micros(self.mill.now()))
        return self._late(noted)

    def _depths(self, queues: list[str]) -> dict[str, int]:
        """Over one connection for as long as it lasts."""
        try:
            with broker.translated(self.url):
                self._connection = self._connection or broker.connection(self.url, "clockmill queues")
                self._connection.heartbeat_check()
                return _ask_depths(self._connection, queues)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            made, self._connection = self._connection, None
            broker.close(made)

    def _row(self, post: Post, depth: int | None, seconds: float) -> dict[str, Any]:
        flow, post.flow = post.flow, Flow()
        return {
            "queue": post.queue,
            "seconds": seconds,
            "done": flow.done,
            "failed": flow.failed,
            "dead": flow.dead,
            "busy_s": flow.busy_s,
            "hands": 1 if post.serial else self.desk.hands,
            "depth": depth,
            # Where nothing waits nothing is late, whatever came last.
            "lag_s": flow.lag_s if depth else None,
        }

    def _late(self, noted: Iterable[dict[str, Any]]) -> str:
        late = {row["queue"]: row["lag_s"] for row in noted if row["lag_s"] is not None}
        waits = outbox.waiting(self.mill.engine)
        if waits.oldest_us is not None:
            late["outbox"] = (micros(self.mill.now()) - waits.oldest_us) / 1e6
        alarms = {
            queue: f"{queue}: what is taken now waits for {lag:.0f} s, longer than alert_after = "
            f"{format_duration(self.patience)}" + (f" ({waits.problem})" if queue == "outbox" and waits.problem else "")
            for queue, lag in late.items()
            if lag > self.patience.total_seconds()
        }
        for queue in alarms.keys() - self.alarms.keys():
            log.warning("%s", alarms[queue])
        self.alarms = alarms
        return "; ".join(f"{queue} is late" for queue in sorted(alarms))

    def prune(self) -> None:
        rows.prune(self.mill.engine, micros(self.mill.now()) - rows.KEPT_S * 1_000_000)


def depths_of(url: str, queues: Iterable[str]) -> dict[str, int]:
    """How many messages wait in each queue that is there."""
    with broker.opened(url, "clockmill queues") as made, broker.translated(url):
        return _ask_depths(made, queues)


def _ask_depths(made: Any, queues: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    channel = made.channel()
    for queue in queues:
        try:
            found[queue] = channel.queue_declare(queue, passive=True).message_count
        except made.channel_errors:
            # It is not there, and the broker has closed the channel for it.
            channel = made.channel()
    channel.close()
    return found


@dataclass(frozen=True)
class QueueState:
    """One queue, as an operator asks about it. Rates are messages a second over the last minute."""

    queue: str
    depth: int | None
    #: How long what is taken now has waited; None where nothing waits or nobody takes.
    oldest_s: float | None
    rate_in: float | None
    rate_out: float | None
    failed: int
    dead: int
    #: Seconds until the queue is empty at these rates; 0: it is, None: never, or not known.
    drain_s: float | None
    #: Hands that the incoming rate keeps busy, and those that there are.
    hands_needed: float | None
    hands: int


def state_of(queue: str, depth: int | None, seen: Seen | None) -> QueueState:
    """What the notes of the last minute make of a queue with so many messages in it now."""
    if seen is None or not seen.seconds:
        return QueueState(queue, depth, None, None, None, 0, 0, 0.0 if depth == 0 else None, None, 0)
    out = seen.settled / seen.seconds
    grown = None if depth is None or seen.first_depth is None else (depth - seen.first_depth) / seen.seconds
    into = None if grown is None else max(0.0, out + grown)
    return QueueState(
        queue=queue,
        depth=depth,
        oldest_s=seen.lag_s if depth else None,
        rate_in=into,
        rate_out=out,
        failed=seen.failed,
        dead=seen.dead,
        drain_s=drain_s(depth, into, out),
        hands_needed=None if into is None or not seen.settled else into * seen.busy_s / seen.settled,
        hands=seen.hands,
    )


def drain_s(depth: int | None, rate_in: float | None, rate_out: float | None) -> float | None:
    """Seconds until nothing waits, if both rates go on; None: never, or not known."""
    if depth == 0:
        return 0.0
    if depth is None or rate_in is None or rate_out is None or rate_out <= rate_in:
        return None
    return depth / (rate_out - rate_in)


def states(mill: Mill, url: str, queues: Iterable[str]) -> Mapping[str, QueueState]:
    """Every queue's state, by name."""
    listed = list(queues)
    depths = depths_of(url, listed)
    seen = rows.seen(mill.engine, micros(mill.now()) - rows.WINDOW_S * 1_000_000)
    return {queue: state_of(queue, depths.get(queue), seen.get(queue)) for queue in listed}
