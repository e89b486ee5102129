"""Messages that ask for runs: events that trigger jobs, and requests of applications. Each run takes the usual way."""

import json
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from clockmill.errors import ConfigError
from clockmill.exchange.cloudevents import BadEvent, Event
from clockmill.exchange.topology import REQUESTS, TRIGGER
from clockmill.handler_spec import HandlerSpec
from clockmill.job_spec import JobSpec
from db.triggers import Asked

if TYPE_CHECKING:
    from clockmill.exchange.context import EventContext
    from clockmill.mill import Mill

#: The type of an application's request for a run; data: {"job", "params"}.
REQUESTED = "clockmill.run.requested"
#: Events that share a run where `debounce` is set and `batch` is not.
MOST_EVENTS = 1000
#: Messages that are recorded in one transaction.
AT_ONCE = 100


def trigger_specs(mill: "Mill") -> list[HandlerSpec]:
    """What handles the events that trigger jobs of this mill: one handler a job."""
    return [
        HandlerSpec(TRIGGER + spec.name, spec.on, partial(trigger, spec), batch=AT_ONCE)
        for spec in mill.registry.jobs.values()
        if spec.on
    ]


def requests_spec() -> HandlerSpec:
    """What handles the requests of applications."""
    return HandlerSpec(REQUESTS, (REQUESTED,), request, batch=AT_ONCE, data={"job": "text", "params": "object"})


def trigger(spec: JobSpec, ctx: "EventContext") -> None:
    """A run of the job for each event, or one that several share."""
    for event in ctx.events:
        ctx.ask(spec, _by_event(spec, event))


def request(ctx: "EventContext") -> None:
    """The run that an application asked for."""
    for event in ctx.events:
        params = event.data["params"]
        spec = _known(ctx.mill, str(event.data["job"]), params)
        asked = Asked(
            spec.name,
            (f"m:{event.id}"[:191],),
            trigger="manual",
            priority=spec.priority,
            params_json=json.dumps(params),
            order_key=spec.order_key(params),
        )
        ctx.ask(spec, asked)


def _known(mill: "Mill", name: str, params: dict[str, Any]) -> JobSpec:
    try:
        spec = mill.registry.get(name)
        spec.with_params(params)
    except ConfigError as e:
        # No further attempt would make it right.
        raise BadEvent(str(e)) from None
    return spec


def _by_event(spec: JobSpec, event: Event) -> Asked:
    shared = spec.batch if spec.batch > 1 else MOST_EVENTS if spec.debounce else 1
    params = {} if shared > 1 else {name: event.data[name] for name in spec.params if name in event.data}
    try:
        spec.with_params(params)
    except ConfigError as e:
        raise BadEvent(str(e)) from None
    return Asked(
        spec.name,
        slot_keys(event),
        body=event.to_json(),
        priority=spec.priority,
        params_json=json.dumps(params),
        order_key=spec.order_key(params),
        debounce_us=round(spec.debounce.total_seconds() * 1e6),
        batch=shared,
    )


def slot_keys(event: Event) -> tuple[str, ...]:
    """The key of the event's run, and one for an id that another source has used before."""
    digest = f"e:{sha256(event.unique.encode()).hexdigest()}"
    return (f"e:{event.id}", digest) if len(event.id) <= 180 else (digest,)
