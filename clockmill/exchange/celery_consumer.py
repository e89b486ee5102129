"""Celery's consumer without its delay queues, awake as soon as a run has ended, that sets strangers' messages aside
and does with the queues that are there: those of priority are on one node of a cluster, which may have left.

Only a worker imports this.
"""

import contextlib
import logging
import os
from typing import Any

from celery import bootsteps
from celery.app.amqp import AMQP
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer import Tasks

from clockmill.exchange.celery_app import DELAYED

log = logging.getLogger("clockmill.worker")

#: A queue that is away is looked for so often.
LOOK_S = 2.0

LOOP = "celery.worker.consumer.consumer:Evloop"

#: Written to from any thread when an answer is to be given: the loop would see it after a second only.
_read, _write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)


def wake() -> None:
    """From any thread: there is something to answer."""
    with contextlib.suppress(BlockingIOError):
        os.write(_write, b".")


class Wake(bootsteps.StartStopStep):  # type: ignore[misc]
    """The loop hears `wake`."""

    def start(self, c: Any) -> None:
        if c.hub is not None:
            c.hub.add_reader(_read, _drain)


def _drain() -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(_read, 4096):
            pass


def consumers_of(connection: Any, queue: str) -> int | None:
    """How many consume the queue; None if the broker has none of that name, or the node that keeps it is down."""
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True)
    except connection.channel_errors:
        # The broker has closed the channel with that answer.
        return None
    channel.close()
    return int(found.consumer_count)


def tell_away(queue: str) -> None:
    log.warning("%s is away; the others are worked for", queue)


class Amqp(AMQP):  # type: ignore[misc]
    """Consumes the queues that are there: Celery would do nothing until the last of them is."""

    def TaskConsumer(self, channel: Any, queues: Any = None, **more: Any) -> Any:
        asked = queues or list(self.queues.consume_from.values())
        away = [queue for queue in asked if consumers_of(channel, queue.name) is None]
        for queue in away:
            tell_away(queue.name)
        return super().TaskConsumer(channel, [queue for queue in asked if queue not in away], **more)


class Return(bootsteps.StartStopStep):  # type: ignore[misc]
    """Consumes a queue that was away when it is back, and leaves one that has gone.

    The broker tells of the latter, but what it tells while Celery starts is not heard.
    """

    requires = (Tasks,)

    def __init__(self, c: Any, **more: Any) -> None:
        self.timer: Any = None
        super().__init__(c, **more)

    def start(self, c: Any) -> None:
        self.timer = c.timer.call_repeatedly(LOOK_S, self.look, (c,))

    def stop(self, c: Any) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def look(self, c: Any) -> None:
        # Of a connection that is gone the loop hears as well.
        with contextlib.suppress(*c.connection.connection_errors, *c.connection.channel_errors):
            for name in list(c.app.amqp.queues.consume_from):
                consuming, consumers = c.task_consumer.consuming_from(name), consumers_of(c.connection, name)
                if consuming and not consumers:
                    c.task_consumer.cancel_by_queue(name)
                    tell_away(name)
                elif consumers is not None and not consuming:
                    c.add_task_queue(name)


#: The loop is the last step: it does not come back.
STEPS = [*(step for step in CeleryConsumer.Blueprint.default_steps if step not in (DELAYED, LOOP)), Wake, Return, LOOP]


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """What the setting worker_consumer names."""

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]
        default_steps = STEPS

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._set_aside(message, "it names no task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._set_aside(message, f"no task {message.headers.get('task')!r}")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._set_aside(message, str(exc))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        # Celery would throw it away.
        self._set_aside(message, f"its body cannot be read: {exc}")

    def _set_aside(self, message: Any, reason: str) -> None:
        """To the dead letters, where a person finds it."""
        queue = message.delivery_info.get("routing_key")
        log.error("%s: a message of %d bytes is set aside: %s", queue, len(message.body or ""), reason[:500])
        message.reject_log_error(log, self.connection_errors)
