"""How fast lists reach Redis: columns -> JSON -> mirror, beside redis-py's MSET of the same bytes made beforehand.

    python -m bench.publish_redis [--users 100000] [--rounds 5] [--check]

Both write 20 recommendations for each user to one embedded server of their own, in turn; the best round of each
counts. Kernels are loaded before. While one batch is on its way the next is made, so this wants two free cores.
`--check` exits with 1 below the promised ratio.
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
PROMISED = 0.6
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


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--check", action="store_true")
    chosen = options.parse_args()
    columns = recommendations(chosen.users)
    loading = {name: np.resize(values, FAST_ROWS_COLD) for name, values in columns.items()}
    loaded = seconds(lambda: list(json_values(1, AT, loading, SHAPE)))
    values = list(json_values(1, AT, columns, SHAPE))
    named = [(f"cm:bench:recommendations:{key}", value) for key, value in values]
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        client = connect("embedded", Path(folder))
        assert client is not None
        mirror = Mirror(client, "bench")
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
    print(f"ratio {peer / ours:.2f} (promised {PROMISED})")
    return 1 if chosen.check and peer / ours < PROMISED else 0


if __name__ == "__main__":
    sys.exit(main())
