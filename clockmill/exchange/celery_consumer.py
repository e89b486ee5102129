"""Celery's consumer without its delay queues, awake as soon as a run has ended, that sets strangers' messages aside.

Only a worker imports this.
"""

import contextlib
import logging
import os
from typing import Any

from celery import bootsteps
from celery.worker.consumer import Consumer as CeleryConsumer

from clockmill.exchange.celery_app import DELAYED

log = logging.getLogger("clockmill.worker")

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


#: The loop is the last step: it does not come back.
STEPS = [*(step for step in CeleryConsumer.Blueprint.default_steps if step not in (DELAYED, LOOP)), Wake, LOOP]


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
