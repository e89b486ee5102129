"""The Celery application of a worker: which queues it consumes, and how it answers.

Celery brings the run's number and takes an answer; claim, process, limits, lease and ending are clockmill's, as behind
every other door. Beat is not used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clockmill.exchange.broker import nodes
from clockmill.exchange.declaring import queue_arguments
from clockmill.exchange.plan import labels
from clockmill.exchange.topology import MAX_PRIORITY, Queue, offer_queue, pool_queue
from clockmill.mill import Mill

if TYPE_CHECKING:
    from celery import Celery

#: A result backend that does not answer must not hold up what is told of other runs.
REDIS_S = 2.0
#: A consumer's connection: over which nothing came for twice as long, it is given up.
HEARTBEAT_S = 20
#: Celery's step that declares 28 delay queues for messages with an ETA, of which we send none.
DELAYED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


def queues_of(mill: Mill, pools: Sequence[str], offers: Sequence[str]) -> list[Queue]:
    """What a worker for these pools, with these offers, consumes."""
    queues = [pool_queue(pool, urgent) for pool in pools for urgent in (True, False)]
    return queues + ([offer_queue(offers, labels(mill))] if offers else [])


def celery_app(mill: Mill, url: str, queues: Sequence[Queue], version: tuple[int, ...]) -> "Celery":
    """An application with these queues, whose tasks are still to be added."""
    from celery import Celery

    made = Celery(
        "clockmill",
        broker=";".join(nodes(url)),
        backend=backend_of(mill),
        amqp="clockmill.exchange.celery_consumer:Amqp",
        set_as_current=False,
    )
    made.conf.update(
        # JSON alone, in and out: what comes from a broker is never code.
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        result_accept_content=["json"],
        event_serializer="json",
        # A message is answered for when the run has ended; one whose worker died comes again, and finds out.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_track_started=False,
        # What becomes of a run is told by the task itself, and stands in the ledger.
        task_ignore_result=True,
        task_queues=[_consumed(queue, version) for queue in queues],
        task_create_missing_queues=False,
        task_queue_max_priority=MAX_PRIORITY,
        broker_heartbeat=HEARTBEAT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # The channel that a broker closes on a message that went unanswered for too long is opened again.
        broker_channel_error_retry=True,
        # A run goes on when the broker is away: its lease is in the ledger.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_consumer="clockmill.exchange.celery_consumer:Consumer",
        redis_socket_timeout=REDIS_S,
        redis_socket_connect_timeout=REDIS_S,
        result_backend_transport_options={"retry_policy": {"max_retries": 0, "timeout": REDIS_S}},
        enable_utc=True,
        timezone="UTC",
    )
    return made


def backend_of(mill: Mill) -> str:
    """Where AsyncResult finds progress: the configured Redis, if it is a server."""
    url = str(mill.config.table("redis")["url"])
    if url.startswith("unix://"):
        # Celery's own way to write it.
        return "redis+socket://" + url.removeprefix("unix://").replace("?db=", "?virtual_host=")
    if url.startswith("rediss://") and "ssl_cert_reqs" not in url:
        return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"
    return url if url.startswith(("redis://", "rediss://")) else "disabled://"


def _consumed(queue: Queue, version: tuple[int, ...]) -> Any:
    from kombu import Exchange
    from kombu import Queue as CeleryQueue

    # Declared before, all of it; Celery sees from the arguments that these are quorum queues.
    return CeleryQueue(
        queue.name,
        Exchange("", type="direct", no_declare=True),
        routing_key=queue.name,
        queue_arguments=queue_arguments(queue, version),
        no_declare=True,
    )
