"""Events under fire: connections cut, the broker killed and blocked, consumers killed, while events come three times,
shuffled, some malformed, some of a megabyte. Each has its effect once, in the order of its key."""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rabbit import Rabbit
from sqlalchemy import text
from world import HERE, Daemon, World, processes_below, wait_until, world

from clockmill.errors import BrokerUnavailable
from clockmill.exchange.dead_letters import listed
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.topology import EVENTS

TYPE = "chaos.thing.moved"
THINGS = 200
#: Events sent in one flight of the producer.
FLIGHT = 50
DRAINED_S = 60.0
#: Somebody has noticed an alarm within this time, or nobody will.
ALARM_S = 20
#: Bodies that are no events, and the words of the reason that each must be set aside with.
MALFORMED = (
    ("{", "its body is not JSON"),
    ('{"specversion": "1.0"}', "its id is missing"),
    (json.dumps({"specversion": "1.0", "id": "w", "source": "/c", "type": TYPE, "data": {"n": 1}}), "has no thing"),
    (json.dumps({"specversion": "1.0", "id": "x", "source": "/c", "type": "chaos.other", "data": {}}), "routing key"),
    (json.dumps({"id": "y", "source": "/c", "type": TYPE, "data": {}}), "specversion"),
)


@dataclass
class Producer(threading.Thread):
    """Sends every letter until the broker has confirmed it, in order."""

    url: str
    letters: list[Letter]
    #: Between two flights, so that what breaks breaks while events come.
    pause_s: float = 0.0
    sent: int = 0
    outages: int = 0
    #: What the broker said of its memory.
    blocked: set[str] = field(default_factory=set)
    hurry: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        publisher = Publisher(self.url, "chaos producer", self.blocked.add)
        while self.sent < len(self.letters):
            flight = self.letters[self.sent : self.sent + FLIGHT]
            try:
                answers = publisher.send(flight)
            except BrokerUnavailable:
                self.outages += 1
                time.sleep(0.2)
                continue
            if any(answers):
                # The queue is not declared again yet, or its leader is.
                time.sleep(0.2)
                continue
            self.sent += len(flight)
            self.hurry.wait(self.pause_s)
        publisher.close()


def letters_of(count: int, seed: int) -> tuple[list[Letter], int]:
    """Each event three times, first in the order of its key; one in a hundred malformed; some of a megabyte."""
    chance = random.Random(seed)
    order = list(range(count))
    first = [_event(n, large=n % 200 == 7) for n in order]
    places = [(n + chance.random(), letter) for n, letter in zip(order, first, strict=True)]
    for letter, n in [(letter, n) for n, letter in enumerate(first) for _ in range(2)]:
        places.append((chance.uniform(n + 1, count + 1), letter))
    malformed = max(len(MALFORMED), count // 100)
    for n in range(malformed):
        places.append((chance.uniform(0, count), Letter(MALFORMED[n % len(MALFORMED)][0], EVENTS, TYPE, f"bad-{n}")))
    return [letter for _, letter in sorted(places, key=lambda place: place[0])], malformed


def _event(n: int, large: bool) -> Letter:
    data: dict[str, Any] = {"thing": n % THINGS, "n": n}
    if large:
        data["filler"] = "x" * 1_000_000
    body = {"specversion": "1.0", "id": f"e-{n}", "source": "/chaos", "type": TYPE, "data": data}
    return Letter(json.dumps(body), EVENTS, TYPE, f"e-{n}")


def violence(kind: str, events: int, cuts: int, kills: int) -> dict[str, Any]:
    """Begins under a memory alarm; then all connections `cuts` times, the broker and a consumer `kills` times."""
    rabbit = Rabbit()
    try:
        told = {"CLOCKMILL_BROKER__URL": rabbit.url}
        with world(kind, jobs=HERE / "effects_of_events", environment=told) as made:
            make_table(made)
            daemons = made.start(2)
            _wait_for_queue(rabbit)
            letters, malformed = letters_of(events, seed=7)
            producer = Producer(rabbit.url, letters, pause_s=0.05)
            began = time.monotonic()
            with rabbit.alarmed():
                producer.start()
                wait_until(lambda: any("memory" in why for why in producer.blocked), "word of the alarm", ALARM_S)
            done = _break_things(producer, rabbit, daemons, cuts, kills)
            producer.hurry.set()
            producer.join(300)
            told_s = time.monotonic() - began
            drained_s = _drained(made, rabbit, events, malformed)
            judged = _judge(made, rabbit, events, malformed, drained_s)
            return {
                **judged,
                "events": events,
                "messages": len(letters),
                "broken": ", ".join(f"{count} {what}" for what, count in done.items()),
                "producer_outages": producer.outages,
                "produced_s": round(told_s, 1),
                "drained_s": round(drained_s, 1),
            }
    finally:
        rabbit.close()


def make_table(made: World) -> None:
    number = {"postgresql": "BIGSERIAL PRIMARY KEY", "mariadb": "BIGINT AUTO_INCREMENT PRIMARY KEY"}
    kind = number.get(made.kind, "INTEGER PRIMARY KEY AUTOINCREMENT")
    engine = made.engine()
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE effects (seq {kind}, event VARCHAR(50), thing INTEGER, n INTEGER)"))
    engine.dispose()


def _wait_for_queue(rabbit: Rabbit) -> None:
    from clockmill.exchange.flows import depths_of

    wait_until(lambda: depths_of(rabbit.url, ["clockmill.on.record"]), "the handler's queue", 60)


def _break_things(producer: Producer, rabbit: Rabbit, daemons: list[Daemon], cuts: int, kills: int) -> Counter[str]:
    chance, done = random.Random(11), Counter[str]()
    plan = ["connections cut"] * cuts + ["broker kills", "consumer kills"] * kills
    chance.shuffle(plan)
    for what in plan:
        time.sleep(chance.uniform(0.2, 1.0))
        if what == "connections cut":
            rabbit.cut_connections()
        elif what == "broker kills":
            rabbit.restart()
        elif not _kill_consumer(chance.choice(daemons)):
            continue
        done[what] += 1
    return done


def _kill_consumer(daemon: Daemon) -> bool:
    for pid in processes_below(daemon.pid):
        with suppress(OSError):
            if b"clockmill.exchange.office" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def _drained(made: World, rabbit: Rabbit, events: int, malformed: int) -> float:
    """Seconds until every event has had its effect and every malformed one is set aside."""
    began = time.monotonic()
    count = "SELECT count(DISTINCT event) FROM effects"
    with suppress(TimeoutError):
        wait_until(
            lambda: (
                [row[0] for row in made.query(count)] == [events]
                and len(dead_letters(rabbit, malformed + 1)) >= malformed
            ),
            "drained",
            3 * DRAINED_S,
        )
    return time.monotonic() - began


def dead_letters(rabbit: Rabbit, limit: int) -> list[Any]:
    with suppress(BrokerUnavailable):
        return listed(rabbit.url, limit)
    return []


def effects_astray(rows: Sequence[Any], expected: Set[str]) -> list[str]:
    """What is wrong with effects (event, thing, n), in the order they came: each once, n growing for each thing."""
    times = Counter(row[0] for row in rows)
    violations = [f"event {event} had its effect {count} times" for event, count in times.items() if count != 1]
    missing = sorted(expected - set(times))
    violations += [f"{len(missing)} events had no effect, for instance {missing[0]}"] if missing else []
    last: dict[int, int] = {}
    for event, thing, n in rows:
        if n < last.get(thing, -1):
            violations.append(f"thing {thing}: {event} came after n = {last[thing]}")
        last[thing] = n
    return violations


def _judge(made: World, rabbit: Rabbit, events: int, malformed: int, drained_s: float) -> dict[str, Any]:
    rows = made.rows("SELECT event, thing, n FROM effects ORDER BY seq")
    violations = effects_astray(rows, {f"e-{n}" for n in range(events)})
    dead = dead_letters(rabbit, 10 * malformed)
    reasons = dict(MALFORMED)
    for letter in dead:
        expected = reasons.get(letter.body.decode())
        if expected is None or expected not in letter.reason:
            violations.append(f"set aside: {letter.id}: {letter.reason}")
    if len(dead) < malformed:
        violations.append(f"{malformed - len(dead)} malformed messages are not in the dead-letter queue")
    if drained_s > DRAINED_S:
        violations.append(f"drained in {drained_s:.0f} s")
    return {"violations": violations, "effects": len(rows), "dead_letters": len(dead)}
