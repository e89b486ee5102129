"""The daemon: time becomes slots, due runs go to a pool of workers. APScheduler keeps time; the ledger decides."""

import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor as TimerThreads
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from clockmill.doors import SCHEDULERS, activate, advance
from clockmill.errors import ClockmillError
from clockmill.executors import Executors
from clockmill.health import Health
from clockmill.housekeeping import House
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.perform import executors_of
from clockmill.runner import Runner
from clockmill.schedule import Schedule
from clockmill.slots import instant, micros
from db.errors import StoreError
from db.run import Claim, Verdict

#: How often the ledger is searched for due runs that no slot of this process announced: retries, orphans, other doors.
POLL_S = 1
#: How often leases of the scheduler itself are renewed and the house is kept.
HOUSE_S = 10
#: How long running jobs may go on after SIGTERM; then they are ended and handed back to the ledger.
DRAIN_S = 30
#: Reading a few more runs than workers are free: others may be claiming at the same time.
LOOK_AHEAD = 4

log = logging.getLogger("clockmill.scheduler")


class SlotTrigger(BaseTrigger):  # type: ignore[misc]
    """APScheduler's question "when next?" answered by our own schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        # Strictly after what was fired: a clock that was set back must not bring the same slot again.
        return self.schedule.next(max(previous, now - timedelta(seconds=1)) if previous else now)


class Scheduler:
    """One daemon. Any number of them may serve one database; none is the leader."""

    def __init__(self, mill: Mill, executors: Executors, workers: int) -> None:
        self.mill = mill
        self.workers = workers
        self.runner = Runner(mill, executors)
        self.keeper = House(mill)
        self.health = Health(mill.config.var / "status", mill.host, mill.now())
        self.schedules: dict[str, tuple[JobSpec, Schedule]] = {}
        self.timer = BackgroundScheduler(
            executors={"default": TimerThreads(2)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )
        self.pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="worker")
        self.busy = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        #: Jobs that the ledger does not know yet, because the database was away.
        self.awaited = dict(mill.registry.jobs)

    # -- the loop

    def run(self) -> None:
        """Until SIGTERM or Ctrl-C: keep time, hand out runs, keep house."""
        self.start()
        while not self.stopping.wait(POLL_S):
            self.health.report(self.mill.now(), jobs=len(self.schedules), workers=self.workers, busy=self.busy)
            if not self.runner.executors.alive():
                self.stopping.set()
                self.stop()
                raise ClockmillError("the process that starts jobs was killed; start the scheduler again")
        self.stop()

    def start(self) -> None:
        self._survive("jobs", self.admit)
        self.timer.add_job(self.poll, IntervalTrigger(seconds=POLL_S), id="poll")
        self.timer.add_job(self.house, IntervalTrigger(seconds=HOUSE_S), id="house", next_run_time=self.mill.now())
        self.timer.start()
        log.info("scheduling %d jobs with %d workers", len(self.schedules), self.workers)

    def stop(self) -> None:
        """No new runs; running ones end by themselves within DRAIN_S, or are ended and left to another daemon."""
        log.info("stopping: %d runs in progress", self.busy)
        self.health.close()
        self.timer.shutdown(wait=True)
        patience = threading.Timer(DRAIN_S, self.runner.leases.stop_all, ("the scheduler stopped", True))
        patience.start()
        self.pool.shutdown(wait=True)
        patience.cancel()
        self._survive("giving back the lease", self.mill.ledger.release, SCHEDULERS + self.mill.owner)
        self.runner.executors.close()

    # -- slots

    def admit(self) -> None:
        """Makes the jobs known to the ledger. Raises StoreError, and goes on with the job it broke off at the next time."""
        for name, spec in list(self.awaited.items()):
            try:
                self.add(spec)
            except StoreError:
                raise
            except ClockmillError as e:
                log.error("job %s: %s", name, e)
            except Exception:
                log.exception("job %s", name)
            del self.awaited[name]
        self.report_broken()

    def add(self, spec: JobSpec) -> None:
        """From now on the job's slots are recorded as they come; those missed while nothing ran, at once."""
        schedule = self.mill.schedule(spec)
        activate(self.mill, spec, self.mill.now())
        if schedule is None or schedule.is_reboot:
            return
        self.schedules[spec.name] = (spec, schedule)
        self.timer.add_job(self.tick, SlotTrigger(schedule), args=[spec.name], id=f"job {spec.name}")

    def tick(self, name: str) -> None:
        """A slot of the job has come."""
        spec, schedule = self.schedules[name]
        self._survive(f"job {name}", advance, self.mill, spec, schedule, self.mill.now())
        self.dispatch()

    def catch_up(self) -> None:
        """Slots that no tick recorded: the database was away, the host asleep, the clock stepped."""
        now = self.mill.now()
        rows = {row.name: row for row in self.mill.ledger.jobs()}
        for name, (spec, schedule) in self.schedules.items():
            following = schedule.next(instant(rows[name].cursor_us)) if name in rows else None
            if following is not None and following <= now:
                advance(self.mill, spec, schedule, now)

    # -- runs

    def poll(self) -> None:
        if self.awaited:
            self._survive("jobs", self.admit)
        self._survive("poll", self.catch_up)
        self.dispatch()
        self.health.beat(self.mill.now())

    def dispatch(self) -> None:
        """Claims due runs for the workers that are free."""
        if self.workers and not self.stopping.is_set():
            self._survive("dispatch", self._dispatch)

    def _dispatch(self) -> None:
        with self.lock:
            names = set(self.mill.registry.jobs)
            while self.busy < self.workers and self.runner.executors.alive():
                free = self.workers - self.busy
                found = self.mill.ledger.claimable(sorted(names), micros(self.mill.now()), free + LOOK_AHEAD)
                waiting = {row.job for row in found if self._try_claim(row.run_id, row.job) == "waits"}
                if not waiting:
                    return
                # Runs that wait for another one of their job must not hide the runs of other jobs.
                names -= waiting

    def _try_claim(self, run_id: int, name: str) -> Claim | Verdict | None:
        if self.busy >= self.workers:
            return None
        spec = self.mill.registry.jobs[name]
        claim, asked_at = self.runner.claim(run_id, spec)
        if isinstance(claim, Claim):
            self.busy += 1
            self.pool.submit(self._work, claim, spec, asked_at)
        return claim

    def _work(self, claim: Claim, spec: JobSpec, asked_at: int) -> None:
        log.info("run %d: %s, attempt %d", claim.run_id, claim.job, claim.attempt)
        try:
            ending = self.runner.run(claim, spec, asked_at)
            log.info("run %d: %s %s%s", claim.run_id, claim.job, ending.state, _because(ending.reason))
        except Exception:
            log.exception("run %d: %s", claim.run_id, claim.job)
        finally:
            with self.lock:
                self.busy -= 1
            self.dispatch()

    # -- the house

    def house(self) -> None:
        self._survive("scheduler lease", self.mill.ledger.lease, SCHEDULERS + self.mill.owner, HOUSE_S * 3)
        self._survive("housekeeping", self.keeper.keep)

    def report_broken(self) -> None:
        """Jobs whose code cannot be loaded stay in the ledger, marked; so do jobs that nothing declares any more."""
        broken = dict(self.mill.registry.broken)
        gone = [row.name for row in self.mill.ledger.jobs() if row.name not in self.mill.registry.jobs]
        for name in gone:
            broken.setdefault(name, "no code, entry point or configuration declares it")
        for name, reason in broken.items():
            log.error("job %s is broken: %s", name, reason)
            self._survive(f"job {name}", self.mill.ledger.set_job_state, name, "broken", reason)

    @staticmethod
    def _survive(what: str, action: Callable[..., Any], *arguments: Any) -> None:
        """Nothing that goes wrong with one job, or with the database, may end the loop."""
        try:
            action(*arguments)
        except (ClockmillError, StoreError) as e:
            log.error("%s: %s", what, e)
        except Exception:
            log.exception("%s", what)


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def main(mill: Mill, workers: int | None = None, executors: Executors | None = None) -> None:
    """Runs the daemon in the foreground until SIGTERM or Ctrl-C.

    `executors`: made before the caller opened anything; by default they are made here, and nothing may be open yet.
    """
    scheduler = Scheduler(
        mill, executors or executors_of(mill), mill.config.table("scheduler")["workers"] if workers is None else workers
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.stopping.set())
    scheduler.run()
