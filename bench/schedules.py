"""Very many schedules in one daemon: loading, memory, the cost of a wake-up, lateness as recorded, a thousand at once.

    python bench/schedules.py                  10,000 and 100,000 jobs, and APScheduler's own in memory beside them
    python bench/schedules.py --jobs 10000     so many
    python bench/schedules.py --check          a small number, to see that it works

The ledger is SQLite, on disk and synchronous as ever; jobs are functions that do nothing, run in threads.
"""

import argparse
import gc
import json
import logging
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import select

from clockmill.bodies import body_of
from clockmill.config import merge
from clockmill.context import Context
from clockmill.executors import Executors
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.registry import Registry
from db.tables import runs
from scheduler import Scheduler

WORKERS = 16
AT_ONCE = 1_000


def nothing(ctx: Context) -> None:
    """A job."""


def resident_kb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def quiet(number: int) -> JobSpec:
    """A job whose slot comes once a day, at any time but in the coming minutes."""
    soon = datetime.now(UTC) - timedelta(hours=1 + number % 20)
    return JobSpec(
        f"job-{number:06}",
        function=nothing,
        executor="thread",
        timezone="UTC",
        schedule=(f"{number * 7 % 60} {soon.hour} * * *",),
    )


def loud(name: str, schedule: str) -> JobSpec:
    return JobSpec(name, function=nothing, executor="thread", timezone="UTC", schedule=(schedule,))


class Bench:
    """One daemon on a fresh ledger with so many quiet jobs."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        self.mill = Mill(merge(folder, None, {"redis": {"url": "none"}}, {}))
        self.mill.__dict__["registry"] = Registry({})
        self.executors = Executors(body_of(self.mill))
        assert self.mill.engine is not None
        before = resident_kb()
        jobs = {spec.name: spec for spec in map(quiet, range(count))}
        self.mill.__dict__["registry"] = Registry(jobs)
        self.first_s = self._load()
        self.kb_each = (resident_kb() - before) / count
        self.again_s = self._load()

    def _load(self) -> float:
        began = time.perf_counter()
        self.scheduler = Scheduler(self.mill, self.executors, WORKERS)
        self.scheduler.admit()
        return time.perf_counter() - began

    def wake_ms(self, wakes: int) -> dict[str, float]:
        """Processor time of one wake-up for a slot of one job, and of one poll."""
        self._add(loud("one", "* * * * * *"))
        tick = poll = 0.0
        for _ in range(wakes):
            time.sleep(1.0 - time.time() % 1.0)
            self.scheduler.agenda.collect(self.scheduler.now())
            began = time.process_time()
            self.scheduler.record(self.scheduler.agenda.take())
            tick += time.process_time() - began
            began = time.process_time()
            self.scheduler.audit()
            poll += time.process_time() - began
        self.scheduler.agenda.drop("one")
        return {"tick": tick / wakes * 1e3, "audit": poll / wakes * 1e3}

    def _add(self, *specs: JobSpec) -> None:
        jobs = {**self.mill.registry.jobs, **{spec.name: spec for spec in specs}}
        self.mill.__dict__["registry"] = Registry(jobs)
        self.scheduler.awaited = {spec.name: spec for spec in specs}
        self.scheduler.admit()

    def lateness_ms(self, seconds: int) -> dict[str, float]:
        """How long after its slot a run started, as the ledger has it: one job, every second."""
        self.scheduler.start()
        self._add(loud("second", "* * * * * *"))
        self.scheduler.timer.modify_job("slots", next_run_time=self.scheduler.agenda.first())
        self._wait(lambda: len(self._late("second")) >= seconds, seconds + 20)
        self.scheduler.agenda.drop("second")
        late = sorted(self._late("second"))
        return {"p50": late[len(late) // 2], "p99": late[int(len(late) * 0.99)], "max": late[-1]}

    @staticmethod
    def disk_ms(folder: Path) -> dict[str, float]:
        """What one fsync of a page costs now, beside the lateness that each start pays one for."""
        taken = []
        with (folder / "probe").open("wb", buffering=0) as file:
            for _ in range(200):
                file.write(b"x" * 4096)
                began = time.perf_counter()
                os.fsync(file.fileno())
                taken.append((time.perf_counter() - began) * 1e3)
                time.sleep(0.02)
        taken.sort()
        return {"p50": taken[100], "p99": taken[197]}

    def at_once_s(self, number: int) -> dict[str, float]:
        """Jobs that are all due in one second: when the last one was recorded, and started."""
        slot = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
        self._add(*[loud(f"burst-{i:04}", f"@at {slot:%Y-%m-%dT%H:%M:%S}Z") for i in range(number)])
        self.scheduler.timer.modify_job("slots", next_run_time=self.scheduler.agenda.first())
        self._wait(lambda: self._ended("burst-") == number, 120)
        with self.mill.engine.connect() as connection:
            rows = connection.execute(select(runs).where(runs.c.job.startswith("burst-"))).all()
        return {
            "recorded": max(row.created_us - row.slot_us for row in rows) / 1e6,
            "started": max(row.started_us - row.slot_us for row in rows) / 1e6,
            "ended": max(row.ended_us - row.slot_us for row in rows) / 1e6,
        }

    def _late(self, name: str) -> list[float]:
        with self.mill.engine.connect() as connection:
            found = connection.execute(select(runs.c.started_us - runs.c.slot_us).where(runs.c.job == name))
            # The first one was due while the job was being added.
            return [us / 1e3 for us in found.scalars() if us is not None][1:]

    def _ended(self, prefix: str) -> int:
        with self.mill.engine.connect() as connection:
            found = connection.execute(select(runs.c.ended_us).where(runs.c.job.startswith(prefix)))
            return sum(us is not None for us in found.scalars())

    @staticmethod
    def _wait(condition: Any, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > until:
                sys.exit(f"not within {patience_s:.0f} s")
            time.sleep(0.25)

    def close(self) -> None:
        self.scheduler.stop()


def peer(count: int) -> dict[str, float]:
    """APScheduler's own triggers in its memory store: no record of anything."""
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.start(paused=True)
    before, began = resident_kb(), time.perf_counter()
    for number in range(count):
        scheduler.add_job(nothing, CronTrigger.from_crontab(quiet(number).schedule[0], timezone=UTC), args=[None])
    taken = time.perf_counter() - began
    each = (resident_kb() - before) / count
    scheduler.shutdown()
    return {"load_s": taken, "kb_each": each}


def measure(count: int, seconds: int, at_once: int, wakes: int, beside: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), count)
        found: dict[str, Any] = {
            "jobs": count,
            "first_load_s": bench.first_s,
            "next_load_s": bench.again_s,
            "kb_each": bench.kb_each,
            "wake_cpu_ms": bench.wake_ms(wakes),
            "lateness_ms": bench.lateness_ms(seconds),
            "fsync_ms": bench.disk_ms(Path(folder)),
            f"{at_once}_at_once_s": bench.at_once_s(at_once),
        }
        bench.close()
    if beside:
        found["apscheduler_in_memory"] = peer(count)
    return found


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def check(found: dict[str, Any]) -> None:
    """Loose bounds, for machines that are busy with other things."""
    problems = [
        name
        for name, good in {
            "load": found["first_load_s"] < 5 and found["next_load_s"] < 5,
            "memory": found["kb_each"] < 8,
            "lateness": found["lateness_ms"]["p50"] < 500,
        }.items()
        if not good
    ]
    if problems:
        sys.exit(f"beyond all bounds: {', '.join(problems)}: {json.dumps(rounded(found))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[10, 10_000, 100_000])
    parser.add_argument("--seconds", type=int, default=60, help="how long lateness is looked at")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    if options.check:
        check(measure(1_000, 2, 20, 1, beside=False))
        return
    for count in options.jobs:
        print(json.dumps(rounded(measure(count, options.seconds, AT_ONCE, 10, beside=True))), flush=True)


if __name__ == "__main__":
    main()
