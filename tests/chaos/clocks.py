"""Clocks that are set under running daemons, and a host that sleeps: libfaketime, which reads a file.

Leases count by CLOCK_BOOTTIME or by the database's clock, so that only the wall clock is tampered with; for a suspended
host both are, since the kernel counts sleep.
"""

import os
import signal
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from checker import check, settle
from world import HERE, LEASE_S, Watcher, World, wait_until, world

HOUR = 3600
#: A clock that was put right has to be forgiven within this time.
RECOVERED_S = 60.0
#: So many seconds of processor time in every second are no work any more.
SPINS = 0.35
#: Slots of ten years are looked through: their jobs are not those of every second.
RARE: Mapping[str, int | str] = {"often": 30, "minute": "* * * * *"}
TIMED: Mapping[str, int | str] = {**RARE, "second": 1}
LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")


def library() -> Path:
    for folder in LIBRARIES:
        if (found := Path(folder) / "libfaketimeMT.so.1").exists():
            return found
    raise RuntimeError("libfaketime is not installed; apt-get install faketime")


class Clock:
    """The wall clock that the daemons of one world see."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.ahead = 0.0
        self.set(0)

    def set(self, ahead: float) -> None:
        """So many seconds ahead of the real one."""
        self.ahead = ahead
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{ahead:+.0f}\n")
        fresh.replace(self.file)

    def now(self) -> float:
        return time.time() + self.ahead


@contextmanager
def with_clock(kind: str, folder: Path, **options: Any) -> Iterator[tuple[World, Clock]]:
    clock = Clock(folder)
    environment = {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(clock.file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        **options.pop("environment", {}),
    }
    with world(kind, folder=folder, environment=environment, **options) as made:
        yield made, clock


def set_back_and_forth(
    kind: str, dwell_s: float, years: int = 0, only: Collection[str] = ("+1h", "-1h", "1970")
) -> dict[str, Any]:
    """+1 h, -1 h and 1970 with jobs of every second; with `years`, so many ahead, with jobs of every half minute."""
    ways = {f"+{years}y": years * 365.25 * 24 * HOUR} if years else {"+1h": HOUR, "-1h": -HOUR, "1970": _to_1970()}
    ways = {way: ahead for way, ahead in ways.items() if years or way in only}
    schedules = RARE if years else TIMED
    jobs = HERE / ("rare" if years else "timed")
    recovered: dict[str, float] = {}
    found: dict[str, Any] = {"violations": []}
    with with_clock(kind, Path(tempfile.mkdtemp(prefix="chaos-")), jobs=jobs) as (made, clock):
        made.start(3)
        # The clock of the daemons comes back to that of this harness: expected slots are those of real time.
        with Watcher(made) as watcher:
            time.sleep(4)
            for way, ahead in ways.items():
                before = _killed_by_leases(made)
                clock.set(ahead)
                found["violations"] += _by_hand(made)
                time.sleep(dwell_s)
                clock.set(0)
                recovered[way] = _recovery(made)
                found["violations"] += _dead(made) + _killed_by_leases(made)[len(before) :]
            cut = settle(made, 60 + 6 * LEASE_S, schedules)
        found["violations"] += [f"a daemon ended with {d.process.returncode}" for d in made.daemons if d.process.poll()]
        # When rows were built is told by the clock that was set.
        checked = check(made, cut, schedules, without=("I10",))
        again = made.rows("SELECT count(*) FROM runs WHERE slot_key LIKE 'r:%'")[0][0]
    found["violations"] += checked.pop("violations") + watcher.violations
    late = {way: seconds for way, seconds in recovered.items() if seconds > RECOVERED_S}
    found["violations"] += [f"after {way} nothing ran for {seconds:.0f} s" for way, seconds in late.items()]
    return {
        **checked,
        "run_after_all": again,
        **{f"recovered_{way}": round(seconds, 1) for way, seconds in recovered.items()},
        "violations": found["violations"],
    }


def _to_1970() -> float:
    return datetime(1970, 1, 2, tzinfo=UTC).timestamp() - time.time()


def _by_hand(made: World) -> list[str]:
    """A person's run goes its way, whatever the clock says."""
    done = made.run("run", "often", "--force", timeout=90)
    return [f"run often exits {done.returncode}: {(done.stdout + done.stderr)[-300:]}"] if done.returncode else []


def _recovery(made: World) -> float:
    """Seconds until something succeeds by a claim made after the clock was put right."""
    began = time.monotonic()
    last = made.rows("SELECT max(run_id) FROM runs")[0][0]
    ended = "SELECT count(*) FROM runs WHERE run_id > :last AND state = 'succeeded'"
    try:
        wait_until(lambda: made.query(ended, last=last) not in ([], [(0,)]), "a run", 3 * RECOVERED_S)
    except TimeoutError:
        return 3 * RECOVERED_S
    return time.monotonic() - began


def _dead(made: World) -> list[str]:
    """Threads of daemons that died, daemons that did, and such as spin."""
    violations = [f"a daemon ended with {d.process.returncode}" for d in made.daemons if not d.alive()]
    for daemon in made.daemons:
        if "Exception in thread" in daemon.log.read_text():
            violations.append(f"a thread died: {daemon.log.read_text().split('Exception in thread')[1][:300]}")
    # Work has pauses, a loop that spins has none.
    least = [min(seconds) for seconds in zip(*(_used(made) for _ in range(6)), strict=True)]
    return violations + [f"a daemon spins: {used:.2f} s of every second" for used in least if used > SPINS]


def _used(made: World) -> list[float]:
    before = [_cpu_s(daemon.pid) for daemon in made.daemons]
    time.sleep(1)
    return [_cpu_s(daemon.pid) - used for daemon, used in zip(made.daemons, before, strict=True)]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _killed_by_leases(made: World) -> list[str]:
    """Attempts that the leases ended: no clock on the wall may do that."""
    rows = made.query("SELECT run_id, reason FROM attempts WHERE state = 'lost'")
    return [f"run {run} was lost: {reason}" for run, reason in rows]


def suspend(kind: str, hours: float = 8) -> dict[str, Any]:
    """All daemons and jobs stand still, and go on eight hours later: one run for each job that coalesces, none lost."""
    schedules = {"plain-latest": "*/10 * * * *", "nap": 3}
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with with_clock(kind, folder, jobs=HERE / "sleeper") as (made, clock):
        made.start(3, program=[str(HERE / "slept.py")])
        wait_until(lambda: len(made.lines()) > 20, "jobs at work", 60)
        tree = [pid for daemon in made.daemons for pid in daemon.tree()]
        _send(tree, signal.SIGSTOP)
        asleep_at = clock.now()
        clock.set(hours * HOUR)
        woke_at = clock.now()
        _send(tree, signal.SIGCONT)
        first = _recovery(made)
        wait_until(lambda: _latest(made, asleep_at, woke_at), "the latest slot of the night", 60)
        cut = settle(made, 60 + 6 * LEASE_S, schedules, clock.now)
        found = check(made, cut, schedules)
        found["violations"] += _caught_up(made, asleep_at, woke_at) + _lost_in_sleep(made)
    return found | {"slept_h": hours, "first_success_s": round(first, 1)}


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


SLEPT = "job = 'plain-latest' AND slot_us > :asleep AND slot_us <= :awake"


def _latest(made: World, asleep: float, awake: float) -> int:
    bounds = {"asleep": int(asleep * 1e6), "awake": int(awake * 1e6)}
    rows = made.query(f"SELECT count(*) FROM runs WHERE {SLEPT} AND state = 'succeeded'", **bounds)
    return rows[0][0] if rows else 0


def _caught_up(made: World, asleep: float, awake: float) -> list[str]:
    """Of the slots that were slept through, the job that runs the latest ran one; the others say what became."""
    bounds = {"asleep": int(asleep * 1e6), "awake": int(awake * 1e6)}
    ran = _latest(made, asleep, awake)
    told = made.rows(f"SELECT sum(slot_count) FROM runs WHERE {SLEPT} AND state IN ('missed', 'coalesced')", **bounds)
    violations = [f"{ran} of the slots that were slept through were run, one should be"] if ran != 1 else []
    return violations + ([] if told[0][0] else ["nothing is told of the slots that were slept through"])


def _lost_in_sleep(made: World) -> list[str]:
    rows = made.rows("SELECT run_id, job, state, reason FROM runs WHERE state IN ('failed', 'timed_out', 'lost')")
    return [f"run {run} of {job} is {state}: {reason}" for run, job, state, reason in rows]
