"""kill -9 of everything between a slot and its effect where Celery carries runs: the scheduler that makes them, the
process that carries and relays, the broker, the worker, and the processes of a run below it."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from checker import SCHEDULES, check, rescues, settle
from rabbit import Rabbit
from world import LEASE_S, Daemon, Watcher, World, processes_below, wait_until, world

HANDS = ("worker", "--concurrency", "4")
#: What is killed, in turn.
VICTIMS = ("worker", "job", "keeper", "parent of all jobs", "scheduler", "carrier", "broker")
#: A victim that is not there just now (no run is under way) is there soon.
FOUND_S = 20
#: Beside a lease's end: the run is sent again when its queue is empty, every 2 to 5 s, and waits its turn.
RESCUE_S = LEASE_S + 20


def killed(kind: str, rounds: int) -> dict[str, Any]:
    """Two schedulers without hands and two workers; each victim `rounds` times. Who dies is replaced at once."""
    numbers, done = random.Random(rounds), Counter[str]()
    rabbit = Rabbit()
    try:
        told = {"CLOCKMILL_BROKER__URL": rabbit.url}
        by_celery = "".join(f'[jobs.{job}]\nexecutor = "celery"\n' for job in SCHEDULES)
        with world(kind, workers=0, config=by_celery, environment=told) as made:
            made.start(2)
            made.start(2, words=HANDS)
            deaths: list[tuple[float, set[int]]] = []
            with Watcher(made) as watcher:
                for victim in VICTIMS * rounds:
                    time.sleep(numbers.uniform(0.5, 2.5))
                    deaths += _kill(made, rabbit, victim, numbers)
                    done[victim] += 1
                    _replace_dead(made)
                wait_until(lambda: not _unsent(made), "the outbox empty", 60)
                cut = settle(made, 120)
            found = check(made, cut)
            gaps = rescues(made, deaths)
            traces = sum("Traceback" in daemon.log.read_text() for daemon in made.daemons)
        found["violations"] += watcher.violations
        if found["not_done"]:
            found["violations"].append(f"{found['not_done']} runs were given up")
        if gaps and max(gaps) > RESCUE_S:
            found["violations"].append(f"I7: a run waited {max(gaps):.1f} s for another worker, allowed {RESCUE_S}")
        broken = ", ".join(f"{count} {what}" for what, count in done.items())
        rescued = {"rescues": len(gaps), "rescue_max": round(max(gaps, default=0.0), 2)}
        return {**found, "kills": done.total(), "broken": broken, **rescued, "traces": traces}
    finally:
        rabbit.close()


def _kill(made: World, rabbit: Rabbit, victim: str, numbers: random.Random) -> list[tuple[float, set[int]]]:
    """When, and which processes of runs went with it, if it was a worker."""
    if victim == "broker":
        rabbit.restart()
        return []
    if victim in ("worker", "scheduler"):
        daemon = numbers.choice([daemon for daemon in made.daemons if _is_worker(daemon) == (victim == "worker")])
        tree = set(daemon.tree())
        daemon.kill()
        return [(time.time(), tree)] if victim == "worker" else []
    pid = wait_until(lambda: _carrier(made) if victim == "carrier" else _of_a_run(made, victim), victim, FOUND_S)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return []


def _is_worker(daemon: Daemon) -> bool:
    return daemon.words[0] == "worker"


def _carrier(made: World) -> int | None:
    """The process that holds the lease to carry."""
    holders = [row[0].encode() for row in made.query("SELECT holder FROM leases WHERE name = 'carrier'")]
    for daemon in made.daemons:
        for pid in processes_below(daemon.pid):
            with suppress(OSError):
                told = Path(f"/proc/{pid}/cmdline").read_bytes()
                if any(holder in told for holder in holders):
                    return pid
    return None


def _of_a_run(made: World, victim: str) -> int | None:
    """The job's process of a run that is under way, its keeper, or the process that started that."""
    running = "SELECT pid FROM attempts WHERE state = 'running' AND pid IS NOT NULL ORDER BY started_us DESC"
    for (pid,) in made.query(running):
        with suppress(OSError, ValueError):
            for _ in range(("job", "keeper", "parent of all jobs").index(victim)):
                pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if any(pid in processes_below(daemon.pid) for daemon in made.daemons):
                return int(pid)
    return None


def _replace_dead(made: World) -> None:
    for daemon in [daemon for daemon in made.daemons if not daemon.alive()]:
        made.replace(daemon)


def _unsent(made: World) -> bool:
    return made.query("SELECT count(*) FROM outbox WHERE published_us IS NULL") != [(0,)]
