"""For applications: ask for a run and follow it, read what was published.

from clockmill import client
run = client.send("recommendations", k=50)     # returns at once; a scheduler or worker carries it out
run.wait(60)
client.recommendations(42)                     # from Redis, and from SQL where Redis has nothing
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from clockmill import config as configuration
from clockmill.bell import ring
from clockmill.doors import manual_run
from clockmill.errors import BrokerUnavailable, ClockmillError
from clockmill.exchange.outgoing import tell
from clockmill.exchange.plan import broker_url
from clockmill.exchange.requests import request_run
from clockmill.mill import Mill
from clockmill.reading import entity, items, mutual_friends
from db import outputs
from db.errors import RedisUnavailable
from db.output_spec import OutputSpec
from db.statements import TERMINAL

#: How often `wait` looks at the ledger.
LOOK_S = 0.2


class Run:
    """A run that was asked for; every property is read from the ledger when it is asked."""

    def __init__(self, mill: Mill, run_id: int | None, sent: tuple[str, str] = ("", "")) -> None:
        """`sent`: job and slot key of a run that was asked for through the broker, and has no number yet."""
        self._mill = mill
        self._run_id = run_id
        self._sent = sent

    @property
    def run_id(self) -> int | None:
        """Its number; None while the request is on its way."""
        if self._run_id is None and (row := self._mill.ledger.run_of_key(*self._sent)) is not None:
            self._run_id = int(row.run_id)
        return self._run_id

    def _row(self) -> Any:
        run_id = self.run_id
        row = self._mill.ledger.run(run_id) if run_id is not None else None
        if row is None and run_id is not None:
            raise ClockmillError(f"run {run_id} is no longer in the ledger")
        return row

    @property
    def state(self) -> str:
        """The run's state; "sent" while the request is on its way."""
        row = self._row()
        return "sent" if row is None else str(row.state)

    @property
    def progress(self) -> float | None:
        """0..1, None before the job has told anything."""
        row = self._row()
        return None if row is None else row.progress

    @property
    def reason(self) -> str | None:
        """Why the run is in its state, where that needs a reason."""
        row = self._row()
        return None if row is None else row.reason

    def wait(self, timeout: float | None = None) -> str:
        """The state at the end, or the present one after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while (state := self.state) not in TERMINAL and (until is None or time.monotonic() < until):
            time.sleep(LOOK_S)
        return state


@lru_cache(maxsize=1)
def _mill() -> Mill:
    return Mill(configuration.load())


def send(job: str, **params: Any) -> Run:
    """Asks for a run and returns at once. Raises ConfigError for an unknown job or parameter.

    Through the broker where there is one: nothing is asked of the database then. Else, or when the broker is away, into
    the ledger.
    """
    mill = _mill()
    spec = mill.registry.get(job)
    spec.with_params(params)
    if broker_url(mill):
        with contextlib.suppress(BrokerUnavailable):
            return Run(mill, None, (job, request_run(mill, job, params)))
    return Run(mill, manual_run(mill, spec, params, forced=False, now=mill.now(), reserved=False))


def emit(type: str, data: Mapping[str, Any], key: Any = None) -> str:
    """Tells that something happened; the event's id. It is in the outbox then, whether the broker is there or not.

    Events with the same `key` keep their order. Raises JobError for what is no event.
    """
    mill = _mill()
    event = tell(mill.config, mill.engine, type, data, key, mill.now())
    ring(mill.config.var)
    return event.id


def get(output: str, id: str | int) -> list[Any]:
    """One entity's items: [id, score, why] lists, or ids. Redis is asked first, then SQL; empty when neither has it."""
    mill = _mill()
    found = _from_redis(mill, output, id)
    return found if found is not None else list(entity(mill.engine, output, id)["items"])


def _from_redis(mill: Mill, output: str, id: str | int) -> list[Any] | None:
    try:
        spec = _spec(mill, output)
        if mill.mirror is None or spec.redis == "hash":
            return None
        if spec.redis == "set":
            members = mill.mirror.read_set(spec.prefix, id)
            return sorted(read_id_of_item(spec, member) for member in members) if members else None
        value = mill.mirror.read_json(spec.prefix, id)
        return None if value is None else list(value["items"])
    except RedisUnavailable:
        return None


def read_id_of_item(spec: OutputSpec, text: str) -> Any:
    """A set's member as SQL holds it: Redis knows texts only."""
    return int(text) if spec.columns[spec.item or spec.key] == "int" else text


@lru_cache(maxsize=64)
def _spec(mill: Mill, output: str) -> OutputSpec:
    return outputs.find(mill.engine, output)[0]


def mutual(a: str | int, b: str | int) -> list[Any]:
    """The friends that two users have in common."""
    return mutual_friends(_mill().engine, a, b)


def counter(name: str, key: str | int = "total") -> float | None:
    """One counter's value; None when it has none for this key."""
    mill = _mill()
    try:
        if mill.mirror is not None:
            value = mill.mirror.read_field(f"counter:{name}", key)
            if value is not None:
                return float(value)
    except RedisUnavailable:
        pass
    spec, row = outputs.find(mill.engine, "counters")
    rows = outputs.read_rows(mill.engine, spec, row.version, keys=[name])
    return next((score for item, score, _ in items(spec, rows) if item == str(key)), None)


def __getattr__(output: str) -> Callable[[str | int], list[Any]]:
    """`client.recommendations(42)` is `client.get("recommendations", 42)`, and so for every output."""
    if output.startswith("_"):
        raise AttributeError(output)
    return partial(get, output)
