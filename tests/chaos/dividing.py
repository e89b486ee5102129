"""Divided runs while their workers, the processes of their shards, and the broker that carries them are killed."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from rabbit import Rabbit
from world import HERE, LEASE_S, Watcher, World, wait_until, world

WORKERS = 3
#: In turn; a keeper is that of whatever works at a run or a shard just now.
VICTIMS = ("keeper", "worker", "keeper", "broker")
SHARDS, ROWS = 24, 600
AT_WORK = "SELECT pid FROM attempts WHERE state = 'running' AND pid IS NOT NULL"


def divided(kind: str, kills: int, carried: bool = False) -> dict[str, Any]:
    """A scheduler without hands and three workers with one each; who dies is replaced at once."""
    numbers, done = random.Random(kills), Counter[str]()
    rabbit = Rabbit() if carried else None
    try:
        told = {"CLOCKMILL_BROKER__URL": rabbit.url} if rabbit else {}
        config = '[jobs.halves]\nexecutor = "celery"\n' if rabbit else ""
        with world(kind, workers=0, jobs=HERE / "halves", config=config, environment=told) as made:
            made.start()
            made.start(WORKERS, words=("worker", "--concurrency", "1"))
            with Watcher(made) as watcher:
                for victim in (VICTIMS * kills)[:kills]:
                    time.sleep(numbers.uniform(1.0, 4.0))
                    what = "worker" if victim == "broker" and rabbit is None else victim
                    _kill(made, rabbit, what, numbers)
                    done[what] += 1
                wait_until(lambda: _ended(made) >= kills // 4, "runs that ended", 180)
                # No more slots; whoever carries goes on.
                made.run("jobs", "pause", "halves")
                wait_until(lambda: not _open(made), "the end of what was begun", 60 + 6 * LEASE_S)
            found = _checked(made, kills)
        return {**found, "violations": found["violations"] + watcher.violations, "broken": dict(done)}
    finally:
        if rabbit:
            rabbit.close()


def _kill(made: World, rabbit: Rabbit | None, victim: str, numbers: random.Random) -> None:
    """At a time when somebody works: the rest is for those who idle."""
    pids = {row[0] for row in wait_until(lambda: made.query(AT_WORK), "somebody at work", 60)}
    if rabbit and victim == "broker":
        rabbit.restart()
    elif victim == "worker":
        busy = [daemon for daemon in made.daemons[1:] if pids & set(daemon.tree())]
        worker = numbers.choice(busy or made.daemons[1:])
        worker.kill()
        made.replace(worker)
    else:
        # A job's process that is killed alone has failed; its keeper's death is nobody's failure.
        with suppress(ProcessLookupError, OSError):
            told = Path(f"/proc/{numbers.choice(sorted(pids))}/stat").read_text()
            os.kill(int(told.rpartition(")")[2].split()[1]), signal.SIGKILL)


def _ended(made: World) -> int:
    return sum(row[0] for row in made.query("SELECT count(*) FROM runs WHERE state = 'succeeded' AND shard_of IS NULL"))


def _open(made: World) -> bool:
    open_ones = "SELECT count(*) FROM runs WHERE state IN ('running', 'retry_wait', 'queued', 'scheduled')"
    return made.query(open_ones) != [(0,)]


def _checked(made: World, kills: int) -> dict[str, Any]:
    all_of_them = "SELECT run_id, state, reason FROM runs WHERE shard_of IS NULL"
    ended = [row for row in made.rows(all_of_them) if (row.state, row.reason) != ("skipped", "paused")]
    done = [row.run_id for row in ended if row.state == "succeeded"]
    violations = [f"run {row.run_id} is {row.state}: {row.reason}" for row in ended if row.state != "succeeded"]
    published = Counter(row[0] for row in made.rows("SELECT run_id FROM publications WHERE output = 'halves'"))
    if sorted(published.elements()) != sorted(done):
        violations.append(f"published {len(published)} times, {len(done)} runs succeeded")
    parts = made.rows(
        "SELECT shard_of, state, count(*), sum(attempt) FROM runs WHERE shard_of IS NOT NULL GROUP BY 1, 2"
    )
    for run_id, state, count, _ in parts:
        if run_id in done and (state, count) != ("succeeded", SHARDS):
            violations.append(f"run {run_id} has {count} shards that are {state}")
    sums = made.rows("SELECT count(*), sum(half), min(run_id), max(run_id) FROM halves_current")[0]
    if (sums[0], sums[1]) != (ROWS, ROWS * (ROWS - 1) / 4) or sums[2] != sums[3]:
        violations.append(f"the last version has {sums[0]} rows of runs {sums[2]} to {sums[3]}, their sum is {sums[1]}")
    begun = Counter(
        tuple(line.split()) for line in made.events.read_text().splitlines() if int(line.split()[0]) in done
    )
    again = sum(begun.values()) - len(begun)
    lost = Counter(row[0] for row in made.rows("SELECT state FROM attempts"))["lost"]
    if len(begun) != SHARDS * len(done):
        violations.append(f"{len(begun)} shards were begun, {len(done)} runs have {SHARDS} each")
    # A worker that dies may have been at a run, and at one of its shards.
    if again > kills * 2:
        violations.append(f"{kills} kills cost {again} shards")
    return {"kills": kills, "runs": len(done), "shards": len(begun), "done_again": again, "lost": lost,
            "violations": violations}  # fmt: skip
