"""kill -9: daemons and whatever is below them, at random instants and at named points."""

import os
import random
import signal
import time
from contextlib import suppress
from typing import Any

from checker import check, rescues, settle
from world import LEASE_S, Watcher, World, percentile, wait_until, world

from db.failpoint import POINTS

#: Daemons mostly; the rest are their helpers and jobs, which die alone more often in life than in tests.
DAEMON_SHARE = 0.8
#: Points that only a world with Redis or a broker passes: redis_faults and messages have them.
ELSEWHERE = ("redis-written", "before-mark", "handled", "after-handled")
#: The fifth passing of a point may take a daemon that shares the work with two others so long.
REACHED_S = 60


def at_random(
    kind: str, kills: int, lease_s: int = LEASE_S, pause_s: tuple[float, float] = (0.4, 2.0)
) -> dict[str, Any]:
    """Three daemons, each kill followed at once by a new start."""
    numbers = random.Random(kills)
    with world(kind, lease_s=lease_s) as made:
        made.start(3)
        killed = []
        with Watcher(made) as watcher:
            for _ in range(kills):
                time.sleep(numbers.uniform(*pause_s))
                killed.append(_kill_one(made, numbers))
            cut = settle(made, 60 + 6 * lease_s)
        found = check(made, cut)
        gaps = rescues(made, [kill for kill in killed if kill])
    found["violations"] += watcher.violations
    found |= {"kills": kills, "rescues": len(gaps), "lease_s": lease_s}
    found |= {f"rescue_p{int(p * 100)}": round(percentile(gaps, p), 2) for p in (0.5, 0.99)}
    if gaps and percentile(gaps, 0.99) > lease_s + 10:
        found["violations"].append(f"I7: rescue p99 is {percentile(gaps, 0.99):.1f} s, allowed {lease_s + 10}")
    return found


def _kill_one(made: World, numbers: random.Random) -> tuple[float, set[int]] | None:
    daemon = numbers.choice(made.daemons)
    if not daemon.alive():
        made.replace(daemon)
        return None
    tree = daemon.tree()
    victim = daemon.pid if numbers.random() < DAEMON_SHARE or len(tree) == 1 else numbers.choice(tree[1:])
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    if victim != daemon.pid:
        return None
    at = time.time()
    daemon.process.wait()
    made.replace(daemon)
    return at, set(tree)


def at_points(kind: str, rounds: int) -> dict[str, Any]:
    """Each point, alone and together with the daemon above it: killed there, then left to the two others."""
    missed = []
    points = [point for point in POINTS if point not in ELSEWHERE]
    with world(kind) as made:
        made.start(2)
        with Watcher(made) as watcher:
            for point in points:
                for n in range(rounds):
                    failpoint = f"{point}:{n + 1}:all" if n % 2 else f"{point}:{n + 1}"
                    if not _one_point(made, failpoint):
                        missed.append(failpoint)
            cut = settle(made, 60 + 6 * LEASE_S)
        found = check(made, cut)
    found["violations"] += watcher.violations
    found["violations"] += [f"{failpoint} was not reached" for failpoint in missed]
    return found | {"kills": len(points) * rounds - len(missed), "points": len(points)}


def _one_point(made: World, failpoint: str) -> bool:
    """A third daemon that dies, or loses a job's process, at the point."""
    daemon = made.start(CLOCKMILL_FAILPOINT=failpoint)[0]
    in_the_job = failpoint.split(":")[0] in ("effect-batch", "before-commit", "after-commit", "redis-written")
    alone = in_the_job and not failpoint.endswith(":all")
    try:
        wait_until(lambda: _died(made, daemon, alone), f"failpoint {failpoint}", REACHED_S)
        return True
    except TimeoutError:
        return False
    finally:
        daemon.kill()
        made.daemons.remove(daemon)


def _died(made: World, daemon: Any, alone: bool) -> bool:
    if not alone:
        return not daemon.alive()
    # The daemon lives and says what became of the process.
    told = daemon.log.read_text()
    return "SIGKILL" in told or _survived(made, daemon)


def _survived(made: World, daemon: Any) -> bool:
    """The job's process died after its commit: its run has succeeded all the same."""
    return daemon.log.read_text().count("succeeded") >= 3
