"""How long a friendship takes from a plain AMQP client to the lists in Redis, while everything else goes on.

    python bench/live.py                        100,000 people, 50 events/s for a minute, on SQLite in a folder
    python bench/live.py --database URL         the same on an empty database of a server
    python bench/live.py --check                few people and events; that all lists are those of a full build

pika publishes (no code of clockmill's own), people drawn uniformly, two of three events a new friendship, the others
the end of one. A scheduler handles events and starts the runs that follow. An event has had its effect when in Redis
both are among each other's friends, and neither is recommended to the other. Afterwards the last run that follows is
awaited, and every row of both outputs is compared with those of a full build, Redis with SQL.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from messages import virtual_host
from recommendations import people
from sqlalchemy import text

from clockmill.mill import Mill
from db import migrate
from db.engine import open_engine
from db.load import load_columns

#: Rows of friendships a person.
FRIENDS = 15
SEED = 11
COMMAND = str(Path(sys.executable).with_name("clockmill"))
NAMES = ("friends", "recommendations")


def prepare(home: Path, database: str, redis: str, broker: str, users: int) -> Mill:
    (home / "clockmill.toml").write_text(
        f'[database]\nurl = "{database}"\n[redis]\nurl = "{redis}"\n[broker]\nurl = "{broker}"\n'
        + "".join(f"[jobs.{name}]\nenabled = false\n" for name in ("counters", "news", "similarity", "weather"))
    )
    if not database.startswith("sqlite"):
        migrate.upgrade(open_engine(database))
    mill = Mill.open(str(home / "clockmill.toml"))
    user, friend = people(users, FRIENDS * users)
    load_columns(mill.engine, "friendships", {"user_id": user, "friend_id": friend})
    return mill


def clockmill(home: Path, *words: str) -> float:
    """Seconds of a whole command."""
    began = time.perf_counter()
    done = subprocess.run(
        [COMMAND, *words],
        env={**os.environ, "CLOCKMILL_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - began


@contextmanager
def scheduler(home: Path) -> Iterator[None]:
    environment = {**os.environ, "CLOCKMILL_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
    with (home / "scheduler.log").open("wb") as log:
        process = subprocess.Popen([COMMAND, "scheduler"], stderr=log, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


class Friendships:
    """Events that a plain client publishes, and when each of them was seen in Redis."""

    def __init__(self, mill: Mill, broker: str, users: int) -> None:
        import pika

        mirror = mill.mirror
        assert mirror is not None, "no Redis"
        self.redis: Any = mirror._client
        self.root = f"cm:{mill.config.namespace}:"
        self.channel = pika.BlockingConnection(pika.URLParameters(broker)).channel()
        self.random = np.random.default_rng(SEED)
        self.users = users
        #: Pairs on their way, with what they became and when they were told.
        self.waiting: dict[tuple[int, int], tuple[bool, float]] = {}
        self.made: list[tuple[int, int]] = []
        self.seen: list[float] = []

    def pair(self) -> tuple[int, int, bool]:
        if len(self.made) > 20 and self.random.random() < 1 / 3:
            user, friend = self.made.pop(int(self.random.integers(len(self.made))))
            return user, friend, False
        while True:
            user, friend = sorted(self.random.integers(0, self.users, 2).tolist())
            if user != friend and (user, friend) not in self.waiting and not self.are(user, friend):
                return user, friend, True

    def are(self, user: int, friend: int) -> bool:
        return bool(self.redis.sismember(f"{self.root}friends:{user}", friend))

    def tell(self) -> None:
        user, friend, there = self.pair()
        kind = f"app.friendship.{'created' if there else 'deleted'}"
        body = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/bench", "type": kind}
        body["data"] = {"user_id": user, "friend_id": friend}  # type: ignore[assignment]
        self.waiting[user, friend] = (there, time.perf_counter())
        self.channel.basic_publish("clockmill.events", kind, json.dumps(body).encode())

    def look(self) -> None:
        """Which of those on their way are there: both sets, and both lists with who is a friend no longer on them."""
        some = list(self.waiting.items())
        pipe = self.redis.pipeline(transaction=False)
        for (user, friend), _ in some:
            for a, b in ((user, friend), (friend, user)):
                pipe.sismember(f"{self.root}friends:{a}", b)
                pipe.get(f"{self.root}recommendations:{a}")
        answers = pipe.execute()
        now = time.perf_counter()
        for n, ((user, friend), (there, told)) in enumerate(some):
            one, first, other, second = answers[4 * n : 4 * n + 4]
            if bool(one) == bool(other) == there and not (there and (lists(first, friend) or lists(second, user))):
                self.seen.append(now - told)
                del self.waiting[user, friend]
                if there:
                    self.made.append((user, friend))

    def run(self, rate: float, seconds: float, patience: float) -> None:
        began, told = time.perf_counter(), 0
        while told < rate * seconds:
            if time.perf_counter() - began >= told / rate:
                self.tell()
                told += 1
            else:
                self.look()
                time.sleep(0.005)
        until = time.perf_counter() + patience
        while self.waiting:
            assert time.perf_counter() < until, f"{len(self.waiting)} of {told} events have had no effect"
            self.look()
            time.sleep(0.005)


def lists(value: bytes | None, candidate: int) -> bool:
    return value is not None and any(item[0] == candidate for item in json.loads(value)["items"])


def rows_of(mill: Mill) -> dict[str, list[tuple[Any, ...]]]:
    with mill.engine.connect() as connection:
        return {
            name: sorted(tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}_current")))
            for name in NAMES
        }


def follow_ups(mill: Mill) -> list[Any]:
    query = "SELECT * FROM runs WHERE slot_key LIKE 'e:%' ORDER BY run_id"
    with mill.engine.connect() as connection:
        return list(connection.execute(text(query)))


def shares(seconds: list[float]) -> str:
    ms = sorted(one * 1e3 for one in seconds)
    late = sum(one > 1000 for one in ms) / len(ms)
    p50, p99 = ms[len(ms) // 2], ms[int(len(ms) * 0.99)]
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, latest {ms[-1]:.0f} ms, over 1 s {late:.1%}"


def told_of(run: Any) -> str:
    report = json.loads(run.report_json)
    built, took = report["builds"]["recommendations"], (run.ended_us - run.started_us) / 1e6
    asked = (run.ended_us - run.created_us) / 1e6
    return f"{run.state} {asked:.0f} s after it was asked for, took {took:.1f} s; {built['build']}: {built['why']}"


def settled(mill: Mill, seconds: float) -> None:
    until = time.monotonic() + seconds
    while any(run.state not in ("succeeded", "failed") for run in follow_ups(mill)):
        assert time.monotonic() < until, f"the lists of others did not follow: {follow_ups(mill)}"
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--database", default="", help="an empty database of its own; by default SQLite in a folder")
    parser.add_argument("--redis", default="embedded")
    parser.add_argument(
        "--broker", default=os.environ.get("CLOCKMILL_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
    )
    parser.add_argument("--check", action="store_true", help="2,000 people, 100 events")
    asked = parser.parse_args()
    users, rate, seconds = (2_000, 20.0, 5.0) if asked.check else (asked.users, asked.rate, asked.seconds)
    with virtual_host(asked.broker) as broker, tempfile.TemporaryDirectory(prefix="cml") as folder:
        home = Path(folder)
        mill = prepare(home, asked.database or f"sqlite:///{home / 'live.db'}", asked.redis, broker, users)
        print(f"{users:,} people; the first run took {clockmill(home, 'run', 'recommendations'):.1f} s", flush=True)
        clockmill(home, "broker", "declare")
        with scheduler(home):
            events = Friendships(mill, broker, users)
            # The process of messages loads its kernels at the first event.
            events.run(1, 1, 120)
            events.seen.clear()
            events.run(rate, seconds, 120)
            print(
                f"{len(events.seen):,} events at {rate:g}/s, from publishing to Redis: {shares(events.seen)}",
                flush=True,
            )
            settled(mill, 600)
        for run in follow_ups(mill):
            print(f"a run that followed: {told_of(run)}")
        before = rows_of(mill)
        full = clockmill(home, "run", "recommendations", "-p", "full=true")
        same = rows_of(mill) == before
        print(f"a full build takes {full:.1f} s and finds {'nothing' if same else 'SOMETHING'} to change")
        assert same
        clockmill(home, "outputs", "verify")
        mill.engine.dispose()


if __name__ == "__main__":
    main()
