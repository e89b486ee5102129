"""Jobs that end badly: the daemon keeps time beside them, each ends as recorded, and nothing of them survives."""

import resource
import threading
import time
from pathlib import Path
from typing import Any

from checker import check
from world import HERE, Daemon, World, marked, wait_until, world

#: job -> (state, what the reason says)
ENDINGS = {
    "stubborn": ("timed_out", "timed out after 2 s"),
    "forks": ("timed_out", "timed out after 4 s"),
    "daemonizes": ("succeeded", ""),
    "hungry": ("failed", "MemoryError"),
    "exits": ("failed", "exit code 7"),
    "leaves": ("failed", "SystemExit: enough"),
    "crashes": ("failed", "killed by SIGSEGV"),
    "deadlocks": ("timed_out", "timed out after 2 s"),
    "prints": ("succeeded", ""),
}
MARKS = ("86401", "86402", "86403")
#: From a kill to the end of the last process.
GONE_S = 2.0
JITTER_S = 1.0


def beside(kind: str, rounds: int, printed: int, forked: int = 500) -> dict[str, Any]:
    every = 20 if printed < 10**9 else 90
    told = {"ILL_EVERY": str(every), "ILL_BYTES": str(printed), "ILL_FORKS": str(forked)}
    with world(kind, lease_s=30, workers=12, bare=True, jobs=HERE / "ill", environment=told) as made:
        daemon = made.start()[0]
        with Memory(daemon) as memory:
            wait_until(lambda: _ended(made) >= rounds * len(ENDINGS), "the ends of all", rounds * every + 120)
        left = _survivors(made)
        cut = time.time_ns() // 1000 - 5_000_000
        wait_until(lambda: not _open(made, cut), "the last ticks", 30)
        found = check(made, cut, {"plain-tick": 1})
        found["violations"] += _wrong_endings(made) + left
        jitter = made.query("SELECT max(created_us - slot_us) FROM runs WHERE job = 'plain-tick'")[0][0] / 1e6
        late = made.query("SELECT max(started_us - slot_us) FROM runs WHERE job = 'plain-tick'")[0][0] / 1e6
        logs = max(path.stat().st_size for path in (made.folder / "var" / "logs").iterdir())
        orphans = _orphans(made, daemon)
        found["violations"] += orphans
    if jitter > JITTER_S:
        found["violations"].append(f"a slot was recorded {jitter:.2f} s after it came")
    if logs > 2_100_000:
        found["violations"].append(f"a log has {logs} bytes")
    return found | {
        "rounds": rounds,
        "printed": printed,
        "forked": forked,
        "jitter_max": round(jitter, 3),
        "start_max": round(late, 3),
        "daemon_rss_growth_mb": round(memory.growth, 1),
        "largest_log": logs,
    }


def _ended(made: World) -> int:
    names = ", ".join(f"'{name}'" for name in ENDINGS)
    rows = made.query(f"SELECT count(*) FROM runs WHERE ended_us IS NOT NULL AND job IN ({names})")
    return rows[0][0] if rows else 0


def _open(made: World, cut: int) -> int:
    left = "SELECT count(*) FROM runs WHERE job = 'plain-tick' AND slot_us <= :cut AND ended_us IS NULL"
    return made.query(left, cut=cut)[0][0]


def _wrong_endings(made: World) -> list[str]:
    rows = made.query("SELECT job, state, reason FROM runs WHERE ended_us IS NOT NULL AND job NOT LIKE 'plain%'")
    return [
        f"{job}: is {state}: {reason}; should be {ENDINGS[job]}"
        for job, state, reason in rows
        if state != ENDINGS[job][0] or ENDINGS[job][1] not in (reason or "")
    ]


def _survivors(made: World) -> list[str]:
    """Children of runs that are over for 2 s already."""
    names = {"86401": "stubborn", "86402": "forks", "86403": "daemonizes"}
    violations = []
    for mark in MARKS:
        if made.query("SELECT 1 FROM runs WHERE job = :job AND state = 'running'", job=names[mark]):
            continue
        try:
            wait_until(lambda m=mark: not marked(m), "", GONE_S)
        except TimeoutError:
            violations.append(f"{len(marked(mark))} processes of {names[mark]} survive it")
    return violations


def _orphans(made: World, daemon: Daemon) -> list[str]:
    """kill -9 of the daemon while its jobs run and have children: nothing of them is left 2 s later."""
    wait_until(lambda: len(marked("86402")) > 20 and len(marked("86401")) > 0, "jobs with children", 180)
    daemon.kill()
    killed = time.monotonic()
    while marked(made.mark) and time.monotonic() < killed + 10:
        time.sleep(0.05)
    seconds = time.monotonic() - killed
    return [f"{seconds:.1f} s after kill -9 of the daemon its jobs' processes live"] if seconds > GONE_S else []


class Memory:
    """Watches how much a daemon's own resident memory grows."""

    def __init__(self, daemon: Daemon) -> None:
        self._status = Path(f"/proc/{daemon.pid}/statm")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._first, self._most = 0.0, 0.0

    def __enter__(self) -> "Memory":
        time.sleep(3)
        self._first = self._now()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> float:
        return self._most - self._first

    def _now(self) -> float:
        return int(self._status.read_text().split()[1]) * resource.getpagesize() / 2**20

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self._most = max(self._most, self._now())
