"""A run asked for through the broker, from an application's process."""

import os
import threading
from collections.abc import Mapping
from typing import Any

from clockmill.errors import BrokerUnavailable
from clockmill.exchange.cloudevents import new_event
from clockmill.exchange.outgoing import max_event
from clockmill.exchange.plan import required_url
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.topology import COMMANDS, REQUESTS
from clockmill.exchange.triggers import REQUESTED
from clockmill.mill import Mill

#: One connection a process, for one thread at a time; a forked child must not use its parent's.
_publishers: dict[str, Publisher] = {}
_one_at_a_time = threading.Lock()


def request_run(mill: Mill, job: str, params: Mapping[str, Any]) -> str:
    """The slot key that the run will have. Raises BrokerUnavailable when the broker has not taken the request."""
    source = f"/clockmill/{mill.config.namespace}/client"
    event = new_event(REQUESTED, {"job": job, "params": dict(params)}, source, mill.now(), None, max_event(mill.config))
    letter = Letter(event.to_json(), COMMANDS, REQUESTS, event.id)
    with _one_at_a_time:
        url = required_url(mill)
        publisher = _publishers.setdefault(url, Publisher(url, "clockmill client"))
        try:
            (problem,) = publisher.send([letter])
        except BrokerUnavailable:
            # The connection may have been idle for longer than the broker allows.
            (problem,) = publisher.send([letter])
    if problem:
        raise BrokerUnavailable(problem)
    return f"m:{event.id}"


def forget() -> None:
    """After a fork: the child opens its own."""
    _publishers.clear()


os.register_at_fork(after_in_child=forget)
