"""A message as it comes: an event for a post, or the reason why not; and what is sent on in its place."""

import logging
from datetime import UTC, datetime
from typing import Any

from clockmill.exchange.cloudevents import BadEvent, Event, check_data, read_event
from clockmill.exchange.dead_letters import ATTEMPT, LONGEST_REASON, QUEUE, REASON, SINCE, TYPE, headers_of
from clockmill.exchange.desk import Delivery, Post, Settled
from clockmill.exchange.handling import Result
from clockmill.exchange.patterns import matches
from clockmill.exchange.publisher import Letter
from clockmill.exchange.tail import bytes_of
from clockmill.exchange.topology import DEAD, EVENTS, retry_delay, retry_name
from clockmill.slots import iso

#: From so many deliveries without an answer on a message is suspected then; in order it is allowed some more.
SUSPECTED, MOST_DEATHS = 2, 5

log = logging.getLogger("clockmill.consumer")

#: Stands for the event of a message that is none.
UNREADABLE = Event("", "", "", {})


def read_message(post: Post, message: Any, limit: int) -> tuple[Delivery, str]:
    """The delivery, and why it cannot be handled, "" when it can. `limit`: bytes that an event may have."""
    headers, body = headers_of(message), bytes_of(message.body)
    came = message.delivery_info
    delivery = Delivery(
        post,
        UNREADABLE,
        message.delivery_tag,
        body,
        str(message.properties.get("content_type") or "application/octet-stream"),
        message_id=message.properties.get("message_id"),
        attempt=_number(headers.get(ATTEMPT), 0) + 1,
        redelivered=_number(headers.get("x-delivery-count"), 0),
    )
    try:
        delivery.event = event = read_event(body, limit)
        if came["exchange"] == EVENTS and came["routing_key"] != event.type:
            raise BadEvent(f'its type "{event.type}" is not its routing key "{came["routing_key"]}"')
        if not any(matches(pattern, event.type) for pattern in post.spec.patterns):
            raise BadEvent(f"{post.spec.name} does not handle events of type {event.type}")
        check_data(event, post.spec.data)
        delivery.key = _key(post, event)
    except BadEvent as e:
        return delivery, str(e)
    post.flow.lag_s = _lag_s(message, event)
    return delivery, ""


def suspicion(delivery: Delivery) -> Result | None:
    """What becomes of a message that may be what kills processes: after one has died it is not handed out again
    and again before all others. It goes round, and is set aside when its attempts are used up."""
    if delivery.redelivered < SUSPECTED:
        return None
    reason = f"its process died or lost its connection {delivery.redelivered} times"
    if delivery.post.spec.order_by is None:
        return Result("failed", reason)
    # In order it cannot go round: its key waits for it.
    most = max(delivery.post.spec.retries, MOST_DEATHS)
    return Result("refused", reason) if delivery.redelivered > most else None


def letter_for(settled: Settled) -> Letter | None:
    """What has to be sent before the message is answered for: its next try, or the message set aside."""
    delivery, result = settled.delivery, settled.result
    flow = delivery.post.flow
    if result.state in ("done", "seen"):
        flow.done += 1
        return None
    headers = {ATTEMPT: delivery.attempt, TYPE: delivery.event.type, QUEUE: delivery.post.queue}
    if result.state == "failed" and delivery.attempt <= delivery.post.spec.retries:
        flow.failed += 1
        log.warning(
            "%s: %s: attempt %d failed: %s", delivery.post.queue, _name(delivery), delivery.attempt, result.reason
        )
        exchange, key = retry_name(retry_delay(delivery.attempt)), delivery.post.queue
    else:
        flow.dead += 1
        log.error("%s: %s is set aside: %s", delivery.post.queue, _name(delivery), result.reason)
        headers |= {REASON: result.reason[:LONGEST_REASON], SINCE: iso(datetime.now(UTC))}
        exchange, key = DEAD, delivery.post.queue
    identity = delivery.event.id if delivery.event is not UNREADABLE else delivery.message_id
    return Letter(delivery.body, exchange, key, identity, headers, delivery.content_type)


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else default


def _key(post: Post, event: Event) -> str | None:
    """What the event is ordered by. Raises BadEvent when it does not say."""
    name = post.spec.order_by
    if name is None:
        return None
    if name in event.data:
        return str(event.data[name])
    if event.key is not None:
        return event.key
    raise BadEvent(f"its data has no {name}, by which {post.spec.name} keeps order")


def _name(delivery: Delivery) -> str:
    return (
        f"event {delivery.event.id}" if delivery.event is not UNREADABLE else f"a message of {len(delivery.body)} bytes"
    )


def _lag_s(message: Any, event: Event) -> float | None:
    """How long the message was on its way, as far as its sender's clock can tell."""
    sent = message.properties.get("timestamp")
    at = sent if isinstance(sent, datetime) else event.time
    if isinstance(sent, int):
        at = datetime.fromtimestamp(sent, UTC)
    if at is None:
        return None
    return max(0.0, (datetime.now(UTC) - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds())
