"""SIGSTOP beyond the lease, of whole trees and of what is below a daemon alone: what wakes up commits nothing."""

import os
import random
import signal
import time
from contextlib import suppress
from typing import Any

from checker import check, settle
from world import LEASE_S, Daemon, Watcher, World, wait_until, world

#: How old an attempt is that comes to its end within a second and has not done so.
LATE = {"steady": (0.1, 0.3), "slow": (2.2, 2.8)}


def longer_than_the_lease(kind: str, stops: int) -> dict[str, Any]:
    """Four daemons, each as if on a host of its own. One is stopped at work until another has taken that over."""
    numbers = random.Random(stops)
    with world(kind) as made:
        for n in range(4):
            made.start(CHAOS_HOST=f"host{n}")
        with Watcher(made) as watcher:
            for n in range(stops):
                daemon = wait_until(lambda: _at_work(made, numbers), "a daemon at work", 60)
                _stop(daemon, together=n % 4 == 3)
            cut = settle(made, 60 + 6 * LEASE_S)
        found = check(made, cut)
        stale, refused = _stale(made)
    found["violations"] += watcher.violations
    if refused != stale:
        found["violations"].append(f"{stale} stale attempts came to their end, {refused} were refused")
    if not stale:
        found["violations"].append("no stale attempt came as far as its commit: nothing was tried")
    return found | {"stops": stops, "lease_s": LEASE_S, "stale_commits": stale, "refused": refused}


def _at_work(made: World, numbers: random.Random) -> Daemon | None:
    """A daemon whose job is about to commit: what is stopped later than that wakes up with its work done."""
    now = time.time()
    last: dict[int, str] = {}
    began: dict[int, tuple[float, str]] = {}
    for line in made.lines(last=60):
        last[line["pid"]] = line["event"]
        if line["event"] == "start":
            began[line["pid"]] = (line["at"], line["job"])
    late = {
        pid
        for pid, (at, job) in began.items()
        if last[pid] == "alive" and LATE.get(job, (9.0, 0.0))[0] <= now - at <= LATE.get(job, (9.0, 0.0))[1]
    }
    busy = [daemon for daemon in made.daemons if daemon.alive() and late & set(daemon.tree())]
    return numbers.choice(busy) if busy else None


def _stop(daemon: Daemon, together: bool) -> None:
    """Stopped from the daemon down. It wakes up with its jobs, or a second after them."""
    tree = daemon.tree()
    _send(tree, signal.SIGSTOP)
    time.sleep(LEASE_S + 3)
    _send(tree[1:], signal.SIGCONT)
    if not together:
        time.sleep(1)
    _send(tree[:1], signal.SIGCONT)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _stale(made: World) -> tuple[int, int]:
    """Attempts that went to their end after the run was taken over, and those of them that committed nothing."""
    lines = made.lines()
    first = {(line["run"], line["fence"]): line["at"] for line in reversed(lines) if line["event"] == "start"}
    committed = {(run, fence) for run, fence in made.query("SELECT run_id, fence FROM publications")}
    stale = {
        (line["run"], line["fence"])
        for line in lines
        if line["event"] == "end"
        and any(at < line["at"] for (run, fence), at in first.items() if run == line["run"] and fence > line["fence"])
    }
    return len(stale), len(stale - committed)
