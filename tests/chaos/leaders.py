"""Three housekeepers at once, though one is meant to: they may waste work, nothing else."""

import time
from typing import Any

from checker import check, settle
from servers import RedisServer
from world import LEASE_S, Watcher, wait_until, world


def forced(kind: str, seconds: float) -> dict[str, Any]:
    """All make up for a Redis that is flushed again and again, and all prune."""
    server = RedisServer()
    flushed = 0
    try:
        with world(kind, redis=server.url) as made:
            made.start(3, CHAOS_PATCH="tests.chaos.leading")
            made.wait_for_slots(3, 60)
            until = time.monotonic() + seconds
            with Watcher(made) as watcher:
                while time.monotonic() < until:
                    server.flush()
                    flushed += 1
                    time.sleep(4)
                wait_until(lambda: not made.run("outputs", "verify").returncode or None, "Redis as SQL", 30)
                cut = settle(made, 60 + 6 * LEASE_S)
            found = check(made, cut)
            verify = made.run("outputs", "verify")
    finally:
        server.close()
    found["violations"] += watcher.violations
    if verify.returncode:
        found["violations"].append(f"I11: outputs verify: {verify.stdout[-200:]} {verify.stderr[-200:]}")
    return found | {"leaders": 3, "flushed": flushed}
