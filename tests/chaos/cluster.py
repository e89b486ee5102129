"""The leader of a handler's queue killed, again and again, in a cluster of three nodes while events come: from the
outbox through the relay, and from a publisher of its own. What was confirmed has its effect once, in its order."""

import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from messages import FLIGHT, TYPE, Producer, dead_letters, effects_astray, make_table
from rabbit import Rabbit, cluster
from sqlalchemy import Engine
from world import HERE, World, percentile, wait_until, world

from clockmill.exchange.cloudevents import Event
from clockmill.exchange.outgoing import outbox_row
from clockmill.exchange.publisher import Letter
from clockmill.exchange.topology import EVENTS
from db import outbox
from db.engine import in_write

NODES = 3
QUEUE = "clockmill.on.record"
#: Keys of each of the two ways; the relay's come after the publisher's.
KEYS = 100
#: Between two flights: they last as long as the kills.
PAUSE_S = 1.5
#: Seconds that a queue may be without a leader, or an event under way, before it counts as broken.
PATIENCE_S = 120


@dataclass
class Emitter(threading.Thread):
    """Commits events to the outbox, as jobs do."""

    engine: Engine
    events: Sequence[Event]
    hurry: threading.Event
    sent: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while self.sent < len(self.events):
            flight = self.events[self.sent : self.sent + FLIGHT]
            rows = [outbox_row(event) for event in flight]
            in_write(self.engine, lambda connection, rows=rows: outbox.put(connection, rows, time.time_ns() // 1000))
            self.sent += len(flight)
            self.hurry.wait(PAUSE_S)


def leaders_killed(kind: str, events: int, kills: int) -> dict[str, Any]:
    """`events` each way, while the leader is killed `kills` times; the next kill waits until all members are back."""
    with cluster(NODES) as nodes:
        told = {"CLOCKMILL_BROKER__URL": ";".join(node.url for node in nodes)}
        with world(kind, jobs=HERE / "effects_of_events", environment=told) as made:
            make_table(made)
            made.start(2)
            wait_until(lambda: _online(nodes[0]) == NODES, "a queue with three members", PATIENCE_S)
            producer = Producer(told["CLOCKMILL_BROKER__URL"], _letters(events), PAUSE_S)
            emitter = Emitter(made.engine(), _events("relayed", events, KEYS), producer.hurry)
            began = time.monotonic()
            producer.start()
            emitter.start()
            stalls = [_kill_leader(made, nodes, producer, emitter) for _ in range(kills)]
            loaded = producer.is_alive() and emitter.is_alive()
            producer.hurry.set()
            for sender in (producer, emitter):
                sender.join(PATIENCE_S)
            violations = [] if loaded else ["the last kills were played without load"]
            violations += _judge(made, events)
            return {
                "violations": violations,
                "kills": kills,
                "confirmed": producer.sent + _published(made),
                "effects": made.rows("SELECT count(*) FROM effects")[0][0],
                "set_aside": len(dead_letters(nodes[0], 10)),
                "producer_outages": producer.outages,
                "stall_median_s": round(percentile(stalls, 0.5), 1),
                "stall_max_s": round(max(stalls), 1),
                "sent_s": round(time.monotonic() - began),
            }


def _events(name: str, count: int, first_key: int) -> list[Event]:
    now = datetime.now(UTC)
    things = [first_key + n % KEYS for n in range(count)]
    return [
        Event(f"{name}-{n}", "/chaos", TYPE, {"thing": thing, "n": n}, now, str(thing))
        for n, thing in enumerate(things)
    ]


def _letters(count: int) -> list[Letter]:
    return [Letter(event.to_json(), EVENTS, TYPE, event.id) for event in _events("published", count, 0)]


def _state(node: Rabbit) -> dict[str, Any]:
    """The handler's queue as this node sees it; nothing while it cannot tell."""
    told = json.loads(node.control("list_queues", "--quiet", "--formatter=json", "name", "leader", "online"))
    return next((row for row in told if row["name"] == QUEUE), {})


def _online(node: Rabbit) -> int:
    """Members of the queue that are up; whoever was away must have caught up before the next one is killed."""
    return len(_state(node).get("online") or ())


def _kill_leader(made: World, nodes: Sequence[Rabbit], producer: Producer, emitter: Emitter) -> float:
    """Seconds from the kill until events of both ways have their effects again."""
    time.sleep(random.uniform(1, 3))
    name = wait_until(lambda: _state(nodes[0]).get("leader"), "a leader", PATIENCE_S)
    (leader,) = (node for node in nodes if node.name == name)
    before = {"<": producer.sent + FLIGHT, ">=": emitter.sent + FLIGHT}
    leader.kill()
    began = time.monotonic()
    wait_until(lambda: all(_last(made, way) >= n for way, n in before.items()), "effects after the kill", PATIENCE_S)
    stall = time.monotonic() - began
    leader.start()
    wait_until(lambda: _online(nodes[0]) == NODES, "the third member", PATIENCE_S)
    print(f"      {name} led and was killed: {stall:.1f} s", flush=True)
    return stall


def _last(made: World, way: str) -> int:
    """The latest event with an effect, of the publisher's ("<") or of the relay's (">=")."""
    return max((row[0] or 0 for row in made.query(f"SELECT max(n) FROM effects WHERE thing {way} {KEYS}")), default=0)


def _published(made: World) -> int:
    return int(made.rows("SELECT count(*) FROM outbox WHERE published_us IS NOT NULL")[0][0])


def _judge(made: World, events: int) -> list[str]:
    wait_until(lambda: _published(made) == events, "the outbox empty", PATIENCE_S)
    expected = {f"{name}-{n}" for name in ("published", "relayed") for n in range(events)}
    count = "SELECT count(DISTINCT event) FROM effects"
    violations = []
    try:
        wait_until(lambda: made.rows(count)[0][0] >= len(expected), "every effect", PATIENCE_S)
    except TimeoutError as e:
        violations.append(str(e))
    return violations + effects_astray(made.rows("SELECT event, thing, n FROM effects ORDER BY seq"), expected)
