"""From the broker to the handlers and back: one thread talks to the broker, the desk's hands handle.

A message is answered for when its effect is committed (ack late) or when it has arrived (early). One that failed is
sent round through a queue that holds it for a while; one that can never succeed is set aside with the reason. Both are
confirmed by the broker before the original is answered for: whoever dies in between leaves two, and the inbox knows.
"""

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from clockmill.errors import BrokerUnavailable
from clockmill.exchange import broker
from clockmill.exchange.declaring import declare
from clockmill.exchange.desk import Delivery, Desk, Post, Settled
from clockmill.exchange.handling import Result
from clockmill.exchange.incoming import letter_for, read_message, suspicion
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.tail import bytes_of
from clockmill.exchange.topology import BROADCAST, EVENTS, Topology

#: Messages of one queue that are here and not answered for.
PREFETCH = 100
#: After a process died, its successor takes one message at a time for so long: what killed it must not count against
#: the messages beside it.
CAREFUL_S = 30.0
#: The thread looks up at least so often.
LOOK_S = 0.5
#: Between two tries to reach a broker that is away.
AGAIN_S = (0.5, 1, 2, 5)

log = logging.getLogger("clockmill.consumer")


class Overdue(Exception):
    """A handler's function does not come back: only a new process is rid of it."""


class Consumer:
    """Consumes the queues of these posts until it is stopped."""

    def __init__(
        self,
        url: str,
        topology: Topology,
        posts: Callable[[], Sequence[Post]],
        desk: Desk,
        limit: int,
        told: Callable[[str], None] = lambda _: None,
        heard: Callable[[str], None] = lambda _: None,
        careful: bool = False,
        tidy: Callable[[Callable[[str, str], None]], None] = lambda _: None,
    ) -> None:
        """`posts` are made anew for every connection. `limit`: bytes of an event. `told` hears what is wrong, "" when
        nothing is; `heard` what is broadcast. `tidy` is given the way to unbind a queue from a pattern."""
        self.url = url
        self.topology = topology
        self.make_posts = posts
        self.desk = desk
        self.limit = limit
        self.told = told
        self.heard = heard
        self.tidy = tidy
        self.careful_until = time.monotonic() + CAREFUL_S if careful else 0.0
        self.stopping = threading.Event()
        self.connected = threading.Event()
        self.publisher = Publisher(url, "clockmill retries", told)
        self._connection: Any = None
        self._channels: dict[Post, Any] = {}
        self._tags: dict[Post, Any] = {}
        self._arrived: list[Settled] = []
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)

    def wake(self) -> None:
        """From any thread: something was settled."""
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake, b".")

    def stop(self) -> None:
        self.stopping.set()
        self.wake()

    # -- the loop

    def run(self) -> None:
        """Until it is stopped; a broker that goes away is waited for. Raises Overdue."""
        tries = 0
        while not self.stopping.is_set():
            try:
                self._connect()
                tries = 0
                self.told("")
                while not self.stopping.is_set():
                    self._turn()
                self._leave()
            except BrokerUnavailable as e:
                self.connected.clear()
                if not tries:
                    log.warning("%s; it is tried again", e)
                self.told(str(e))
                self._close()
                self.stopping.wait(AGAIN_S[min(tries, len(AGAIN_S) - 1)])
                tries += 1
            finally:
                self.connected.clear()
        self._close()

    def _turn(self) -> None:
        with broker.translated(self.url):
            self._drain()
            self._answer()
            self._connection.heartbeat_check()
            self.publisher.beat()
        self._look_at_calls()
        if self.careful_until and time.monotonic() > self.careful_until:
            self._take_more()

    def _drain(self) -> None:
        """Reads what is there; waits for a moment for the broker or for a hand."""
        sock = self._connection.connection.sock
        if not self._read():
            select.select([sock, self._woken], [], [], LOOK_S)
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
            self._read()

    def _read(self) -> bool:
        found = False
        # What a broker sends without pause must not keep the hands' answers waiting.
        for _ in range(PREFETCH):
            try:
                self._connection.drain_events(timeout=0.0001)
                found = True
            except TimeoutError:
                break
        return found

    # -- what comes

    def _connect(self) -> None:
        with broker.translated(self.url):
            self._connection = broker.connection(self.url, "clockmill events", self.told)
            for finding in declare(self._connection, self.topology):
                log.error("%s %s: %s", finding.what, finding.state, finding.says)
            self.tidy(self._unbind)
            posts = list(self.make_posts())
            self.desk.open(posts)
            self._arrived = []
            self._channels, self._tags = {}, {}
            for post in posts:
                self._channels[post] = channel = self._connection.channel()
                self._consume(post, channel, 1 if self.careful_until else PREFETCH)
            self._listen()
        self.connected.set()

    def _unbind(self, queue: str, pattern: str) -> None:
        log.info("%s hears no events of type %s any more", queue, pattern)
        self._connection.default_channel.queue_unbind(queue, EVENTS, pattern)

    def _consume(self, post: Post, channel: Any, prefetch: int) -> None:
        channel.basic_qos(0, prefetch, False)
        self._tags[post] = channel.basic_consume(
            post.queue, callback=lambda message: self._take(post, message), on_cancel=self._cancelled
        )

    @staticmethod
    def _cancelled(tag: Any) -> None:
        raise BrokerUnavailable("the broker ended a consumer: its queue was deleted, or its node left")

    def _take_more(self) -> None:
        """What killed the last process is past: take as many at a time as usual. In order only where none waits."""
        with broker.translated(self.url):
            for post, channel in self._channels.items():
                if not post.spec.ordered or self.desk.idle(post):
                    channel.basic_cancel(self._tags[post])
                    self._consume(post, channel, PREFETCH)
                else:
                    self.careful_until = time.monotonic() + LOOK_S
                    return
        self.careful_until = 0.0

    def _listen(self) -> None:
        """Hears what is broadcast, through a queue that is gone with the connection."""
        channel = self._connection.channel()
        queue = channel.queue_declare("", exclusive=True, auto_delete=True, durable=False).queue
        channel.queue_bind(queue, BROADCAST)
        channel.basic_consume(
            queue, no_ack=True, callback=lambda m: self.heard(bytes_of(m.body).decode("utf-8", "replace"))
        )

    def _take(self, post: Post, message: Any) -> None:
        delivery, refusal = read_message(post, message, self.limit)
        result = Result("refused", refusal) if refusal else None
        if result is None and self.careful_until:
            result = suspicion(delivery)
        if result is not None:
            self._arrived.append(Settled(delivery, result))
            return
        if post.spec.ack == "early":
            self._acknowledge(delivery)
        self.desk.put(delivery)

    # -- what goes back

    def _answer(self) -> None:
        settled = [*self.desk.take_settled(), *self._arrived]
        self._arrived = []
        if not settled:
            return
        letters = [(one, letter) for one in settled if (letter := letter_for(one)) is not None]
        for (one, _), problem in zip(letters, self._send([letter for _, letter in letters]), strict=True):
            if problem:
                raise BrokerUnavailable(f"[broker] url: {problem}; {one.delivery.post.queue} waits for it")
        for one in settled:
            self._acknowledge(one.delivery)

    def _send(self, letters: list[Letter]) -> list[str]:
        return self.publisher.send(letters) if letters else []

    def _acknowledge(self, delivery: Delivery) -> None:
        if not delivery.acknowledged:
            delivery.acknowledged = True
            self._channels[delivery.post].basic_ack(delivery.tag)

    def _look_at_calls(self) -> None:
        """A function that does not come back: its events count as failed, and the process has to go."""
        overdue = self.desk.overdue()
        if not overdue:
            return
        for call in overdue:
            reason = f"it was not handled within {call.post.spec.timeout.total_seconds():g} s"
            at_work = {event.unique for event in call.events}
            for delivery in call.group:
                last = max(delivery.attempt, delivery.redelivered + 1) > call.post.spec.retries
                # In order: it stays where it is, first of its key, until its attempts are used up.
                if delivery.event.unique in at_work and (delivery.key is None or last):
                    delivery.attempt = max(delivery.attempt, call.post.spec.retries + 1 if last else 0)
                    self._arrived.append(Settled(delivery, Result("failed", reason)))
        with broker.translated(self.url):
            self._answer()
        self._close()
        raise Overdue(f"{overdue[0].post.spec.name}: its function does not come back")

    # -- the end

    def _leave(self) -> None:
        """What is under way is finished and answered for; the rest goes back to the queues."""
        with broker.translated(self.url):
            for post, channel in self._channels.items():
                channel.basic_cancel(self._tags[post])
            self.desk.close(10.0)
            self._answer()

    def _close(self) -> None:
        self.desk.open([])
        self.publisher.close()
        if self._connection is not None:
            made, self._connection = self._connection, None
            broker.close(made)
