"""clockmill queues: whether consumers keep up with producers."""

from typing import Any

import click

from clockmill.cli.show import json_option, mill, print_json, span, table
from clockmill.mill import Mill


@click.command("queues", epilog="Example: clockmill queues --json")
@json_option
def queues_command(as_json: bool) -> None:
    """Depth, age, rates and time to drain of every queue, of the outbox, and of the ledger's pools."""
    held = mill()
    found = [*_of_broker(held), _outbox(held), *_pools(held)]
    if as_json:
        print_json({"queues": found})
        return
    headers = ("queue", "waiting", "oldest", "in/s", "out/s", "drained in", "failed", "dead", "hands needed", "note")
    table(headers, [_row(one) for one in found], "no queues")


def _of_broker(held: Mill) -> list[dict[str, Any]]:
    from clockmill.exchange.flows import states
    from clockmill.exchange.plan import broker_url, topology_of

    url = broker_url(held)
    if not url:
        return []
    listed = {queue.name: queue.handles for queue in topology_of(held).queues}
    return [{**vars(state), "note": listed[name]} for name, state in states(held, url, listed).items()]


def _outbox(held: Mill) -> dict[str, Any]:
    from clockmill.slots import micros
    from db.outbox import waiting

    waits = waiting(held.engine)
    age = None if waits.oldest_us is None else (micros(held.now()) - waits.oldest_us) / 1e6
    return {
        **EMPTY,
        "queue": "outbox",
        "depth": waits.count,
        "oldest_s": age,
        "note": waits.problem or "events to send",
    }


def _pools(held: Mill) -> list[dict[str, Any]]:
    """Runs that wait for a worker, by pool: the ledger is their queue, whoever carries them."""
    from clockmill.slots import micros
    from db.flows import waiting_runs

    pools = {name: spec.pool or "default" for name, spec in held.registry.jobs.items()}
    now = micros(held.now())
    found: dict[str, dict[str, Any]] = {}
    for job, count, oldest_us, ended, busy_s in waiting_runs(held.engine, now):
        pool = found.setdefault(pools.get(job, "default"), {"depth": 0, "oldest_s": None, "ended": 0, "busy_s": 0.0})
        pool["depth"] += count
        pool["ended"] += ended
        pool["busy_s"] += busy_s
        if oldest_us is not None:
            pool["oldest_s"] = max(pool["oldest_s"] or 0.0, (now - oldest_us) / 1e6)
    return [_pool(name, pool) for name, pool in sorted(found.items())]


def _pool(name: str, pool: dict[str, Any]) -> dict[str, Any]:
    return {
        **EMPTY,
        "queue": f"runs of pool {name}",
        "depth": pool["depth"],
        "oldest_s": pool["oldest_s"],
        "rate_out": pool["ended"] / 60,
        "note": "due runs in the ledger",
    }


EMPTY: dict[str, Any] = {
    "queue": "",
    "depth": None,
    "oldest_s": None,
    "rate_in": None,
    "rate_out": None,
    "failed": 0,
    "dead": 0,
    "drain_s": None,
    "hands_needed": None,
    "hands": 0,
    "note": "",
}


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    needed = one["hands_needed"]
    return (
        one["queue"],
        one["depth"],
        _span(one["oldest_s"]),
        one["rate_in"],
        one["rate_out"],
        _drained(one),
        one["failed"] or None,
        one["dead"] or None,
        None if needed is None else f"{needed:.1f} of {one['hands']}",
        one["note"],
    )


def _span(seconds: float | None) -> str | None:
    from datetime import timedelta

    return None if seconds is None else span(timedelta(seconds=seconds))


def _drained(one: dict[str, Any]) -> str | None:
    if one["depth"] == 0:
        return "now"
    if one["drain_s"] is None and one["rate_in"] is not None:
        return "never"
    return _span(one["drain_s"])
