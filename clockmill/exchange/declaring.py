"""The topology laid into a broker, and compared with what is there."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from clockmill.exchange.broker import MEMORY_LACKS, server_version
from clockmill.exchange.topology import Exchange, Queue, Topology

if TYPE_CHECKING:
    from kombu import Connection

#: From this version on quorum queues have a delivery limit unless told otherwise.
LIMITED_BY_DEFAULT = (4,)


class Finding(NamedTuple):
    """One exchange or queue. `state`: ok, missing, differs or unsupported."""

    state: str
    what: str
    says: str


def declare(made: "Connection", topology: Topology) -> list[Finding]:
    """Makes what is missing; a finding for each thing that could not be declared as it should be."""
    return [finding for finding in _each(made, topology, _declare_exchange, _declare_queue) if finding.state != "ok"]


def check(made: "Connection", topology: Topology) -> list[Finding]:
    """Makes nothing; a finding for each exchange and queue."""
    return list(_each(made, topology, _look_at_exchange, _look_at_queue))


def queue_arguments(queue: Queue, version: tuple[int, ...]) -> dict[str, Any]:
    """The queue's arguments as this version of the broker needs them to mean the same."""
    arguments = dict(queue.arguments)
    if version >= LIMITED_BY_DEFAULT and arguments.get("x-queue-type") == "quorum":
        arguments.setdefault("x-delivery-limit", -1)
    return arguments


def _each(
    made: "Connection",
    topology: Topology,
    exchange_step: Callable[[Any, Exchange], None],
    queue_step: Callable[[Any, Queue, dict[str, Any]], None],
) -> Iterator[Finding]:
    version = server_version(made)
    channel = made.channel()
    steps: list[tuple[str, Callable[[Any], None]]] = []
    for exchange in topology.exchanges:
        if exchange.kind == "headers" and made.transport.driver_type == "memory":
            yield Finding("unsupported", f"exchange {exchange.name}", MEMORY_LACKS["headers"])
            continue
        steps.append((f"exchange {exchange.name}", lambda c, e=exchange: exchange_step(c, e)))  # type: ignore[misc]
    for queue in topology.queues:
        arguments = queue_arguments(queue, version)
        steps.append((f"queue {queue.name}", lambda c, q=queue, a=arguments: queue_step(c, q, a)))  # type: ignore[misc]
    for what, step in steps:
        try:
            step(channel)
        except made.channel_errors as e:
            # The broker has closed the channel, and said why.
            yield Finding(*_refused(what, e))
            channel = made.channel()
        else:
            yield Finding("ok", what, "")
    channel.close()


def _refused(what: str, error: Any) -> tuple[str, str, str]:
    code = getattr(error, "reply_code", None)
    if code == 404 and "inaccessible" in str(error):
        return "missing", what, "the node of the cluster that keeps it is down; it is there again when that is"
    if code == 404:
        return "missing", what, "it is not there; run: clockmill broker declare"
    if code == 406:
        detail = str(getattr(error, "reply_text", error)).removeprefix("PRECONDITION_FAILED - ")
        return "differs", what, f"{detail}; delete it in the broker when it is empty, then: clockmill broker declare"
    return "differs", what, str(error)


def _declare_exchange(channel: Any, exchange: Exchange) -> None:
    channel.exchange_declare(
        exchange.name, exchange.kind, durable=True, auto_delete=False, arguments=dict(exchange.arguments)
    )


def _look_at_exchange(channel: Any, exchange: Exchange) -> None:
    channel.exchange_declare(exchange.name, exchange.kind, passive=True)
    _declare_exchange(channel, exchange)


def _declare_queue(channel: Any, queue: Queue, arguments: dict[str, Any]) -> None:
    channel.queue_declare(queue.name, durable=True, exclusive=False, auto_delete=False, arguments=arguments)
    for binding in queue.bindings:
        if binding.arguments and not hasattr(channel, "confirm_select"):
            continue
        channel.queue_bind(queue.name, binding.exchange, binding.key, arguments=dict(binding.arguments))


def _look_at_queue(channel: Any, queue: Queue, arguments: dict[str, Any]) -> None:
    channel.queue_declare(queue.name, passive=True)
    # With the same arguments nothing happens; with others the broker says which.
    channel.queue_declare(queue.name, durable=True, exclusive=False, auto_delete=False, arguments=arguments)
