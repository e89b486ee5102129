"""Redis flushed, restarted empty, paused, under readers: whole entities, never an older one, whole again in 10 s."""

import json
import os
import random
import signal
import threading
import time
from typing import Any

from servers import RedisServer
from world import HERE, World, percentile, wait_until, world

USERS = 20_000
WHOLE_AGAIN_S = 10.0
KEY = "cm:app:board:"


class Reader(threading.Thread):
    """Reads entities at random: all items of one must be of one run, and its version may not go back."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.reads, self.missing = 0, 0
        self.violations: list[str] = []
        self.stop = threading.Event()
        self._seen: dict[int, int] = {}

    def run(self) -> None:
        from redis import Redis
        from redis.exceptions import RedisError

        client = Redis.from_url(self.url, socket_timeout=5)
        while not self.stop.wait(0.002):
            user = random.randrange(USERS)
            try:
                value = client.get(f"{KEY}{user}")
            except RedisError:
                continue
            self._judge(user, value)

    def _judge(self, user: int, value: Any) -> None:
        if value is None:
            self.missing += 1
            return
        self.reads += 1
        entity = json.loads(value)
        runs = {item[1] for item in entity["items"]}
        if len(runs) != 1 or len(entity["items"]) != 5:
            self.violations.append(f"I11: user {user} is torn: {value[:200]!r}")
        if entity["v"] < self._seen.get(user, 0):
            self.violations.append(f"I11: user {user} went back from {self._seen[user]} to {entity['v']}")
        self._seen[user] = entity["v"]


def faults(kind: str, each: int) -> dict[str, Any]:
    server = RedisServer()
    told = {"BOARD_USERS": str(USERS)}
    try:
        with world(kind, redis=server.url, jobs=HERE / "board", environment=told) as made:
            made.start(2)
            wait_until(lambda: _whole(made, server), "the first version in Redis", 60)
            readers = [Reader(server.url) for _ in range(3)]
            for reader in readers:
                reader.start()
            seconds: dict[str, list[float]] = {"flush": [], "restart": [], "pause": []}
            for n in range(each):
                for fault in seconds:
                    seconds[fault].append(_fault(made, server, fault, n))
            _write_killed(made, each)
            for reader in readers:
                reader.stop.set()
                reader.join()
            made.leave()
            verify = made.run("outputs", "verify")
            failed = made.query("SELECT count(*) FROM runs WHERE state IN ('failed', 'timed_out', 'lost')")[0][0]
    finally:
        server.close()
    violations = [violation for reader in readers for violation in reader.violations]
    if verify.returncode:
        violations.append(f"I11: outputs verify: {verify.stdout[-200:]} {verify.stderr[-200:]}")
    if failed:
        violations.append(f"{failed} runs failed, for want of Redis")
    every = [value for values in seconds.values() for value in values]
    if max(every) > WHOLE_AGAIN_S:
        violations.append(f"I11: Redis was whole again after {max(every):.1f} s")
    return {
        "users": USERS,
        "each": each,
        "reads": sum(reader.reads for reader in readers),
        "torn": sum("torn" in violation for violation in violations),
        **{f"{fault}_p50": round(percentile(values, 0.5), 1) for fault, values in seconds.items()},
        **{f"{fault}_max": round(max(values), 1) for fault, values in seconds.items()},
        "violations": violations,
    }


def _fault(made: World, server: RedisServer, fault: str, n: int) -> float:
    """Seconds from the end of the fault until Redis holds every entity of a current version."""
    from redis import Redis

    time.sleep(random.uniform(0, 1.5))
    with Redis.from_url(server.url) as client:
        if fault == "flush":
            client.flushall()
        elif fault == "pause":
            client.execute_command("CLIENT", "PAUSE", 2000 + 100 * n, "ALL")
    if fault == "restart":
        server.restart()
    if fault == "pause":
        time.sleep(2 + n / 10)
    began = time.monotonic()
    wait_until(lambda: _whole(made, server), f"Redis after {fault}", 60)
    return time.monotonic() - began


def _whole(made: World, server: RedisServer) -> bool:
    """Every entity is there, and the version Redis says it holds is the current one, or was a moment ago."""
    from redis import Redis

    rows = made.query("SELECT version FROM outputs WHERE name = 'board'")
    if not rows:
        return False
    with Redis.from_url(server.url, socket_timeout=5) as client:
        held = client.hget("cm:app:meta:board", "version")
        count = sum(1 for _ in client.scan_iter(match=f"{KEY}*", count=5000)) if held else 0
    return held is not None and int(held) >= rows[0][0] and count == USERS


def _write_killed(made: World, times: int) -> None:
    """Whoever writes to Redis dies in the middle of it, under the same readers."""
    for _ in range(times):
        daemon = made.start(CLOCKMILL_FAILPOINT="redis-written:2:all")[0]
        time.sleep(2)
        if daemon.alive():
            os.kill(daemon.pid, signal.SIGKILL)
        daemon.process.wait()
        made.daemons.remove(daemon)
