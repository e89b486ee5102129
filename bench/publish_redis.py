"""How fast lists reach Redis: columns -> JSON -> mirror, beside redis-py's MSET of the same bytes made beforehand.

    python bench/publish_redis.py [--users 100000] [--rounds 5]
    python bench/publish_redis.py --check    # small, without times: only that both ways leave the same in Redis

Both write 20 recommendations for each user to one embedded server of their own, in turn; the best round of each
counts. Kernels are loaded before. While one batch is on its way the next is made, so this wants two free cores.
Before any time is printed, what the mirror wrote is compared with what MSET wrote, byte by byte. Goal: a ratio of 0.6.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from db.entities import FAST_ROWS_COLD, Columns, Shape, json_values
from db.mirror import Mirror
from db.redis_server import connect

ITEMS = 20
MSET_KEYS = 500
CHECK_USERS = 2_000
AT = "2026-03-08T07:00:00Z"
SHAPE = Shape("user_id", "candidate_id", "score", {"mutual_count": "int", "mutual_ids": "json"})


def recommendations(users: int) -> Columns:
    """Rows like those of the job: a score with all its digits, one to five mutual friends."""
    random = np.random.default_rng(7)
    rows = users * ITEMS
    mutual = [random.integers(1, users, random.integers(1, 6)).tolist() for _ in range(rows)]
    return {
        "user_id": np.repeat(np.arange(1, users + 1), ITEMS),
        "candidate_id": random.integers(1, users, rows),
        "score": random.random(rows) * 3,
        "mutual_count": np.array(list(map(len, mutual))),
        "mutual_ids": np.array([json.dumps(ids, separators=(",", ":")) for ids in mutual], object),
    }


def publish(mirror: Mirror, columns: Columns) -> None:
    """What is measured: the way of a version of an output."""
    mirror.begin("recommendations", 1)
    mirror.write_json("recommendations", 1, "recommendations", json_values(1, AT, columns, SHAPE))
    mirror.finish("recommendations", 1, {"rows": len(columns["user_id"])})


def mset(client: "Redis", named: list[tuple[str, bytes]]) -> None:
    """What it is measured against."""
    for first in range(0, len(named), MSET_KEYS):
        client.mset(dict(named[first : first + MSET_KEYS]))


def load_kernels(columns: Columns) -> float:
    """Seconds of the first use, which may compile them."""
    many = {name: np.resize(values, FAST_ROWS_COLD) for name, values in columns.items()}
    return seconds(lambda: list(json_values(1, AT, many, SHAPE)))


def compare(client: "Redis", named: list[tuple[str, bytes]]) -> None:
    """Exits unless the mirror's keys hold the very bytes that MSET was given under the same names."""
    for first in range(0, len(named), MSET_KEYS):
        part = named[first : first + MSET_KEYS]
        if client.mget([name for name, _ in part]) != [value for _, value in part]:
            sys.exit(f"the mirror wrote something else than MSET near {part[0][0]}: nothing to compare")


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--check", action="store_true")
    chosen = options.parse_args()
    if chosen.check:
        chosen.users, chosen.rounds = CHECK_USERS, 1
    columns = recommendations(chosen.users)
    loaded = 0.0 if chosen.check else load_kernels(columns)
    values = list(json_values(1, AT, columns, SHAPE))
    named = [(f"cm:bench:recommendations:{key}", value) for key, value in values]
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        client = connect("embedded", Path(folder))
        assert client is not None
        mirror = Mirror(client, "bench")
        publish(mirror, columns)
        compare(client, named)
        if chosen.check:
            print(f"{chosen.users} users: the mirror holds the same bytes")
            client.close()
            return
        rounds = [
            (seconds(lambda: mset(client, named)), seconds(lambda: publish(mirror, columns)))
            for _ in range(chosen.rounds)
        ]
        client.close()
    peer, ours = (min(times) for times in zip(*rounds, strict=True))
    size = sum(len(value) for _, value in named) / 1e6
    print(f"{chosen.users} users x {ITEMS} items, {size:.0f} MB of JSON; first use of the kernels {loaded:.1f} s")
    print(f"redis-py MSET of ready bytes  {peer:.2f} s  {chosen.users / peer:9,.0f} keys/s")
    print(f"columns -> JSON -> mirror     {ours:.2f} s  {chosen.users / ours:9,.0f} keys/s")
    print(f"ratio {peer / ours:.2f}")


if __name__ == "__main__":
    main()
