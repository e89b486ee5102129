"""The message that asks a Celery worker for a run. It holds the run's number; what there is to do stands in the ledger.

Celery's message protocol, version 2, which is public: whoever sends needs no Celery.
"""

import json
import logging
import os
import socket
from datetime import timedelta

from clockmill.config import Config
from clockmill.durations import parse_duration
from clockmill.errors import BrokerUnavailable
from clockmill.exchange.plan import labels
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.topology import (
    COMMANDS,
    DEFAULT_POOL,
    MAX_PRIORITY,
    RESOURCES,
    needs_headers,
    pool_name,
)
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill

#: Answered for when the run has ended, and, where that would be too late for the broker, before it begins.
TASK, LONG_TASK = "clockmill.run", "clockmill.run_long"
#: A worker answers so long after the job's timeout at the latest: the claim, the end, and the broker's clock.
MARGIN = timedelta(minutes=2)
#: The fanout exchange at which Celery's workers hear commands.
CONTROL = "celery.pidbox"

log = logging.getLogger("clockmill.carrier")


def task_id(namespace: str, run_id: int) -> str:
    """The id by which Celery knows the run: AsyncResult(task_id("app", 17))."""
    return f"clockmill-{namespace}-{run_id}"


def carried(mill: Mill) -> dict[str, JobSpec]:
    """The jobs whose runs the broker brings to workers."""
    return {name: spec for name, spec in mill.registry.jobs.items() if spec.executor == "celery"}


def task_of(spec: JobSpec, config: Config) -> str:
    """Which task runs the job: a message that goes unanswered for longer than the broker allows closes the channel."""
    allowed = parse_duration(config.table("broker")["consumer_timeout"])
    return TASK if spec.timeout + MARGIN <= allowed else LONG_TASK


def queue_of(spec: JobSpec) -> str:
    """The queue of the job's pool; "" for a job that goes by what it needs."""
    return "" if spec.needs else pool_name(spec.pool or DEFAULT_POOL, spec.priority > 0)


def letter_of(mill: Mill, spec: JobSpec, run_id: int) -> Letter:
    """The message for a run of this job."""
    ident = task_id(mill.config.namespace, run_id)
    headers: dict[str, object] = {
        "lang": "py",
        "task": task_of(spec, mill.config),
        "id": ident,
        "root_id": ident,
        "parent_id": None,
        "group": None,
        # What monitors show in place of the task's name.
        "shadow": spec.name,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": f"({run_id},)",
        "kwargsrepr": "{}",
        "origin": f"{os.getpid()}@{socket.gethostname()}",
        "ignore_result": True,
    }
    body = json.dumps([[run_id], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    if spec.needs:
        headers |= needs_headers(spec.needs, labels(mill))
        return Letter(body, RESOURCES, "", headers=headers, content_type="application/json")
    priority = min(spec.priority, MAX_PRIORITY) if spec.priority > 0 else None
    return Letter(body, COMMANDS, queue_of(spec), headers=headers, content_type="application/json", priority=priority)


def revoke(mill: Mill, url: str, run_id: int) -> None:
    """Tells Celery's workers that a message need not be looked at. A hint: whoever takes it finds its run ended, and
    a worker that runs it is told by the ledger."""
    arguments = {"task_id": task_id(mill.config.namespace, run_id), "terminate": False, "signal": None}
    body = json.dumps({"method": "revoke", "arguments": arguments, "destination": None})
    publisher = Publisher(url, "clockmill cancel")
    try:
        publisher.send([Letter(body, CONTROL, "", content_type="application/json")])
    except BrokerUnavailable as e:
        log.info("workers are not told that run %d is cancelled: %s", run_id, e)
    finally:
        publisher.close()
