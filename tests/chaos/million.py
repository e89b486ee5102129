"""A publication of a million people beside others who want to write: how long the lock is held, and the lease."""

import sqlite3
import threading
import time
from typing import Any

from world import HERE, percentile, world

#: Nobody waits longer for a writer.
HELD_S = 0.25


class Impatient(threading.Thread):
    """Asks for the write lock again and again without any patience, and notes how long it was refused."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.waits: list[float] = []
        self.stop = threading.Event()

    def run(self) -> None:
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        while not self.stop.wait(0.01):
            began = time.perf_counter()
            while not self._taken(connection):
                time.sleep(0.001)
            self.waits.append(time.perf_counter() - began)
        connection.close()

    @staticmethod
    def _taken(connection: sqlite3.Connection) -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def published(kind: str, people: int) -> dict[str, Any]:
    """At first all of them, then a tenth that changed; with the lease that users have."""
    told = {"PEOPLE": str(people)}
    with world(kind, lease_s=30, jobs=HERE / "people", environment=told) as made:
        made.start()
        made.wait_for_slots(1, 60)
        other = Impatient(made.url.removeprefix("sqlite:///"))
        other.start()
        began = time.monotonic()
        done = made.run("run", "people", timeout=900)
        seconds = time.monotonic() - began
        second = made.run("run", "people", timeout=900)
        other.stop.set()
        other.join()
        ticks = "SELECT max(created_us - slot_us) FROM runs WHERE job = 'plain-tick' AND slot_us IS NOT NULL"
        late = made.rows(ticks)[0][0] / 1e6
        attempts = [tuple(row) for row in made.rows(ATTEMPTS)]
        rows = made.rows("SELECT count(*) FROM people_current")[0][0]
    violations = [] if attempts == [("succeeded",)] * 2 else [f"attempts: {attempts}"]
    if done.returncode or second.returncode or rows != 2 * people:
        violations.append(f"{rows} rows; {done.stderr[-300:]} {second.stderr[-300:]}")
    if max(other.waits) > HELD_S:
        violations.append(f"the lock was held for {max(other.waits):.3f} s")
    return {
        "people": people,
        "seconds_first": round(seconds, 1),
        "asked": len(other.waits),
        "held_p99": round(percentile(other.waits, 0.99), 3),
        "held_max": round(max(other.waits), 3),
        "slot_recorded_late_max": round(late, 3),
        "violations": violations,
    }


ATTEMPTS = "SELECT a.state FROM attempts a JOIN runs r ON r.run_id = a.run_id WHERE r.job = 'people'"
