"""Statements that fail: COMMIT, before it arrives or before its answer does."""

import time
from typing import Any

from checker import check, settle
from world import HERE, Watcher, world


def at_commit(kind: str, jobs: int, slots: int, share: float = 0.2) -> dict[str, Any]:
    """`jobs` jobs with `slots` slots each; each COMMIT fails with this probability before, and again after it."""
    every = 20 if jobs > 50 else 10
    names = [f"many{n:03}" for n in range(jobs)]
    with world(kind, jobs=HERE / "many", environment={"MANY": str(jobs), "MANY_EVERY": str(every)}) as made:
        made.start(2, program=[str(HERE / "faulty.py")], FAULT_P=str(share))
        with Watcher(made, 2) as watcher:
            made.wait_for_slots(jobs * slots, every * slots + 120)
            time.sleep(2)
            cut = settle(made, 180, dict.fromkeys(names, every))
        found = check(made, cut, dict.fromkeys(names, every))
        faults = (made.folder / "faults.log").stat().st_size
        lost = made.query("SELECT count(*) FROM attempts WHERE state = 'lost'")[0][0]
    found["violations"] += watcher.violations
    return found | {"jobs": jobs, "p": share, "faults": faults, "lost_attempts": lost}
