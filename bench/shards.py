"""Friends of friends of 100,000 people, divided into shards over 1, 2 and 4 workers, beside the local kernel.

    python bench/shards.py [--people 100000] [--shards 8] [--rounds 3]
    python bench/shards.py --check    # small, without times: only that all come to the same lists

The local kernel is `compute.recommend`, lists and reasons, in a run of the same job, on one thread and on two. Divided,
the same call hands its ranges to `ctx.shards`: the time counts from the arrays in memory to the lists in memory, with
the file for the workers, the ledger, each shard's process, its file and the merge. The workers are the hands of one
scheduler on SQLite; the run's own process is one of them. What every run comes to is compared before a time is printed.

Seconds are by the wall, the medians of so many rounds in turn; in brackets those of the processor, of the run's own
process: with one worker it does everything. Goal: one worker in 1.15 times the local kernel on one thread.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from recommendations import people

ROWS_PER_PERSON = 20.3
#: Hands of the scheduler; the last of them more than the cores of a small machine.
WORKERS = (1, 2, 4)
PATIENCE_S = 600

JOB = """
import hashlib
import json
import os
import time
from functools import partial
from pathlib import Path

import numpy as np

from clockmill import Context, Shard, compute, job

HOME = Path(os.environ["CLOCKMILL_HOME"])


def some_lists(shard: Shard):
    compute.compile_kernels(shard.cache_dir, shard.log, of=())
    return compute.recommend_range(shard.arrays, shard.facts, shard.first, shard.last, shard.progress)


@job(shard=some_lists, params={"shards": 1, "threads": 1, "round": 0}, overlap="queue_all")
def divided(ctx: Context) -> None:
    with np.load(HOME / "people.npz") as rows:
        graph = compute.friendship_graph(rows["user"], rows["friend"])
    compute.compile_kernels(ctx.cache_dir, ctx.log, ["people"])
    shards, threads = ctx.params["shards"], ctx.params["threads"]
    divide = partial(ctx.shards, shards) if shards > 1 else None
    wall, used = time.perf_counter(), time.process_time()
    lists = compute.recommend(graph, threads=threads, divide=divide)
    spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - used}
    digest = hashlib.sha256()
    for name, values in sorted(lists.items()):
        digest.update(json.dumps(values.tolist()).encode() if values.dtype == object else values.tobytes())
    (HOME / f"came.{ctx.run_id}").write_text(json.dumps({**spent, "digest": digest.hexdigest()}))
"""


class Spent(NamedTuple):
    """Seconds by the wall, and of the processor in the run's own process."""

    wall: float
    processor: float


class Home:
    """One CLOCKMILL_HOME with the job and its data."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.digests: set[str] = set()
        (path / "jobs").mkdir()
        (path / "jobs" / "divided.py").write_text(JOB, encoding="utf-8")
        (path / "clockmill.toml").write_text(
            '[redis]\nurl = "none"\n[scheduler]\njob_folders = ["jobs"]\n'
            + "".join(f"[jobs.{name}]\nenabled = false\n" for name in ("counters", "news", "weather")),
            encoding="utf-8",
        )
        user, friend = people(count, int(count * ROWS_PER_PERSON))
        np.savez(path / "people.npz", user=user, friend=friend)

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("clockmill")), *words]
        return subprocess.Popen(
            command, env={**os.environ, "CLOCKMILL_HOME": str(self.path)}, stderr=subprocess.DEVNULL
        )

    def run(self, **params: int) -> Spent:
        """One run, by a scheduler that is at work."""
        words = "import json, sys; from clockmill import client\n"
        words += "print(client.send('divided', **json.loads(sys.argv[1])).run_id)"
        environment = {**os.environ, "CLOCKMILL_HOME": str(self.path)}
        asked = [sys.executable, "-c", words, json.dumps(params)]
        run_id = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        came = self.path / f"came.{run_id}"
        until = time.monotonic() + PATIENCE_S
        while not came.exists() or not came.read_text(encoding="utf-8"):
            if time.monotonic() > until:
                sys.exit(f"run {run_id} has not ended in {PATIENCE_S} s; see {self.path}")
            time.sleep(0.05)
        found = json.loads(came.read_text(encoding="utf-8"))
        self.digests.add(found["digest"])
        if len(self.digests) > 1:
            sys.exit(f"{params}: the lists are not those of the other runs")
        return Spent(found["wall"], found["processor"])


def measured(home: Home, shards: int, rounds: int, hands: Sequence[int]) -> dict[str, list[Spent]]:
    """Every case once a round, so that what else the machine does meets all of them."""
    found: dict[str, list[Spent]] = defaultdict(list)
    for at in range(rounds):
        for workers in hands:
            daemon = home.start("scheduler", "--workers", str(workers))
            try:
                if workers == 1:
                    for threads in (1, 2):
                        found[f"local kernel, {threads} thread{'s' * (threads > 1)}"].append(
                            home.run(threads=threads, round=at)
                        )
                found[f"{shards} shards, {workers} worker{'s' * (workers > 1)}"].append(
                    home.run(shards=shards, round=at)
                )
            finally:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="a small size, and no times")
    asked = parser.parse_args()
    count, rounds = (2_000, 1) if asked.check else (asked.people, asked.rounds)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Home(Path(folder), count), asked.shards, rounds, WORKERS[:2] if asked.check else WORKERS)
    if asked.check:
        print(f"{count} people: the lists of {asked.shards} shards are those of the local kernel")
        return
    base = Spent(*(median(column) for column in zip(*found["local kernel, 1 thread"], strict=True)))
    for name, times in found.items():
        wall, processor = (median(column) for column in zip(*times, strict=True))
        print(f"{name:<28}{wall:8.2f} s ({processor:.2f}){wall / base.wall:8.2f} x ({processor / base.processor:.2f})")


if __name__ == "__main__":
    main()
