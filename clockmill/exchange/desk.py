"""Deliveries between the thread that talks to the broker and the hands that handle them.

Of events with one key only the first is ever handed out; the others stand behind it in a chain until it is settled.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clockmill.exchange.cloudevents import Event
from clockmill.exchange.handling import Result
from clockmill.handler_spec import HandlerSpec

#: Events that share a transaction, where a handler takes them one by one.
GROUP = 25
#: A hand that finds the database away waits so long.
AWAY_S = 1.0
#: How long an event whose key others wait for is held back at most, between two attempts.
LONGEST_HOLD_S = 60


@dataclass
class Flow:
    """What went through a queue since it was last asked."""

    done: int = 0
    failed: int = 0
    dead: int = 0
    busy_s: float = 0.0
    lag_s: float | None = None


@dataclass(eq=False)
class Post:
    """One queue and the handler of what comes from it."""

    spec: HandlerSpec
    queue: str
    ready: "deque[Delivery]" = field(default_factory=deque)
    chains: "dict[str, deque[Delivery]]" = field(default_factory=dict)
    #: Groups under way; a post that keeps order as a whole has one at a time.
    under_way: int = 0
    flow: Flow = field(default_factory=Flow)

    @property
    def serial(self) -> bool:
        return self.spec.batch > 1

    @property
    def group(self) -> int:
        return self.spec.batch if self.serial else GROUP


@dataclass(eq=False)
class Delivery:
    """One message that is an event, and not settled yet."""

    post: Post
    event: Event
    tag: int
    body: bytes
    content_type: str
    #: The sender's name for the message; of an event its id, if the sender is careful.
    message_id: str | None = None
    attempt: int = 1
    #: How often the broker had delivered it before.
    redelivered: int = 0
    acknowledged: bool = False
    key: str | None = None
    arrived: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Settled:
    """A delivery that has to be answered for: done, or to be tried later, or to be set aside."""

    delivery: Delivery
    result: Result


#: Handles a group; told which events the handler's function is given, before each call.
Work = Callable[[Post, Sequence[Delivery], Callable[[Sequence[Event]], None]], Sequence[Result]]


@dataclass(eq=False)
class Call:
    """A handler's function at work."""

    post: Post
    group: Sequence[Delivery]
    events: Sequence[Event] = ()
    since: float = field(default_factory=time.monotonic)


class Desk:
    """`hands` groups are handled at once."""

    def __init__(self, hands: int, work: Work, wake: Callable[[], None]) -> None:
        """`wake`: called when something was settled."""
        self.work = work
        self.wake = wake
        self.posts: list[Post] = []
        self.settled: deque[Settled] = deque()
        self.calls: set[Call] = set()
        self.away = ""
        self.hands = hands
        self._changed = threading.Condition()
        self._later: list[tuple[float, int, Delivery]] = []
        self._number = itertools.count()
        self._stopped = False
        self._threads = [threading.Thread(target=self._attend, daemon=True, name=f"hand-{n}") for n in range(hands)]
        for thread in self._threads:
            thread.start()

    # -- the broker's side

    def open(self, posts: Sequence[Post]) -> None:
        """From now on these; whatever was under way before belongs to a connection that is gone."""
        with self._changed:
            self.posts = list(posts)
            self.settled.clear()
            self._later.clear()

    def put(self, delivery: Delivery) -> None:
        with self._changed:
            if delivery.key is not None:
                chain = delivery.post.chains.setdefault(delivery.key, deque())
                chain.append(delivery)
                if len(chain) > 1:
                    return
            delivery.post.ready.append(delivery)
            self._changed.notify()

    def take_settled(self) -> list[Settled]:
        with self._changed:
            taken = list(self.settled)
            self.settled.clear()
            return taken

    def overdue(self) -> list[Call]:
        """Calls that last longer than their handlers may."""
        now = time.monotonic()
        with self._changed:
            return [
                call
                for call in self.calls
                if call.events and now - call.since > call.post.spec.timeout.total_seconds() and call.post in self.posts
            ]

    def idle(self, post: Post) -> bool:
        """Whether nothing of the post waits here or is under way."""
        with self._changed:
            return not (post.ready or post.chains or post.under_way or any(d.post is post for *_, d in self._later))

    def close(self, patience_s: float) -> None:
        """Lets what is under way end, within so many seconds; the rest goes back to the broker."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        until = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # -- the hands

    def _attend(self) -> None:
        while (taken := self._take()) is not None:
            post, group = taken
            call = Call(post, group)
            with self._changed:
                self.calls.add(call)
            began = time.monotonic()
            results = self.work(post, group, lambda events, call=call: self._note(call, events))  # type: ignore[misc]
            with self._changed:
                self.calls.discard(call)
                post.flow.busy_s += time.monotonic() - began
                self._settle(post, group, results)
            self.wake()

    @staticmethod
    def _note(call: Call, events: Sequence[Event]) -> None:
        call.since, call.events = time.monotonic(), events

    def _take(self) -> tuple[Post, list[Delivery]] | None:
        with self._changed:
            while not self._stopped:
                wait = self._hurry_due()
                for post in self.posts:
                    if post.ready and not (post.serial and (post.under_way or self._gathers(post))):
                        group = [post.ready.popleft() for _ in range(min(post.group, len(post.ready)))]
                        post.under_way += 1
                        # The next hand begins its search with the next post.
                        self.posts.remove(post)
                        self.posts.append(post)
                        return post, group
                self._changed.wait(wait)
            return None

    def _gathers(self, post: Post) -> bool:
        """A batch that is not full, and whose first event has not waited for long enough."""
        waited = time.monotonic() - post.ready[0].arrived
        return len(post.ready) < post.spec.batch and waited < post.spec.gather.total_seconds()

    def _hurry_due(self) -> float:
        """Hands out what has waited for its next attempt; seconds until somebody should look again."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            delivery = heapq.heappop(self._later)[2]
            delivery.post.ready.append(delivery)
        waits = [self._later[0][0] - now] if self._later else []
        waits += [
            post.ready[0].arrived + post.spec.gather.total_seconds() - now
            for post in self.posts
            if post.ready and post.serial
        ]
        return max(0.005, min([1.0, *(wait for wait in waits if wait > 0)]))

    def _settle(self, post: Post, group: Sequence[Delivery], results: Sequence[Result]) -> None:
        post.under_way -= 1
        if post not in self.posts:
            return
        self.away = next((result.reason for result in results if result.state == "away"), "")
        for delivery, result in zip(group, results, strict=True):
            if result.state == "away":
                self._hold(delivery, AWAY_S)
            elif result.state == "failed" and delivery.key is not None and delivery.attempt <= post.spec.retries:
                # Others of its key stand behind it: it is not sent round, but tried again from here.
                post.flow.failed += 1
                self._hold(delivery, hold_s(delivery.attempt))
                delivery.attempt += 1
            else:
                self.settled.append(Settled(delivery, result))
                self._advance(delivery)
        self._changed.notify_all()

    def _hold(self, delivery: Delivery, seconds: float) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._number), delivery))

    def _advance(self, delivery: Delivery) -> None:
        chain = delivery.post.chains.get(delivery.key) if delivery.key is not None else None
        if chain is None:
            return
        chain.popleft()
        if chain:
            delivery.post.ready.append(chain[0])
        else:
            del delivery.post.chains[str(delivery.key)]


def hold_s(attempt: int) -> float:
    """Seconds between attempts at an event whose key others wait for."""
    from clockmill.exchange.topology import retry_delay

    return min(retry_delay(attempt), LONGEST_HOLD_S)
