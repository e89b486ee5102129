"""The daemon: time becomes slots, due runs go to a pool of workers. APScheduler keeps time; the ledger decides."""

import logging
import queue
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor as TimerThreads
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from clockmill.admission import Admission, advance_all
from clockmill.agenda import Agenda, Listed
from clockmill.bell import ring
from clockmill.bodies import body_of, executors_of
from clockmill.clock_watch import ClockWatch
from clockmill.doors import SCHEDULERS, boot_run
from clockmill.durations import format_duration
from clockmill.errors import ClockmillError
from clockmill.exchange.broadcast import RELOAD
from clockmill.exchange.plan import broker_url
from clockmill.exchange.service import Messages
from clockmill.executors import Executors
from clockmill.health import Health
from clockmill.housekeeping import House
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.reload import difference, reloaded
from clockmill.room import cramped
from clockmill.runner import Runner
from clockmill.slots import instant
from clockmill.workers import Workers
from db.errors import StoreError
from db.lease_clock import boot_micros

#: How often the ledger is searched for due runs that no slot of this process announced: retries, orphans, other doors.
POLL_S = 1
#: How often the scheduler's own lease is renewed and the house is kept; Redis is whole again 10 s after a flush.
HOUSE_S = 3
#: How long that lease lasts.
ALIVE_S = 30
#: How long running jobs may go on after SIGTERM; then they are ended and handed back to the ledger.
DRAIN_S = 30
#: So many cursors are looked at in one poll, in turn: its cost must not grow with the number of jobs.
AUDITED = 500
#: The timer wakes up for slots once in a while even if there is none.
IDLE = timedelta(hours=1)
ENDING = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("clockmill.scheduler")


def beside_slots(now: datetime) -> datetime:
    """The middle of this second, past or to come: slots come at its ends, and what is regular must not delay them."""
    return now.replace(microsecond=500_000)


class SlotTrigger(BaseTrigger):  # type: ignore[misc]
    """APScheduler's question "when next?", answered by our own schedules: the next slot of all jobs."""

    def __init__(self, agenda: Agenda) -> None:
        self.agenda = agenda

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        if previous is not None:
            # What has come is set aside for the tick; the answer is strictly later, however the clock was set.
            self.agenda.collect(max(previous, now))
        return self.agenda.first() or now + IDLE


class Every(BaseTrigger):  # type: ignore[misc]
    """Again and again so long after the first time. APScheduler's own interval counts every period that the clock leapt
    over, one by one: after a clock that stood in 1970 has been put right, for hours."""

    def __init__(self, seconds: float) -> None:
        self.period = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        first = previous or now
        return first + ((now - first) // self.period + 1) * self.period


class Scheduler:
    """One daemon. Any number of them may serve one database; none is the leader."""

    def __init__(self, mill: Mill, executors: Executors, workers: int) -> None:
        self.mill = mill
        self.keeper = House(mill)
        self.health = Health(mill.config.var / "status", mill.host, mill.now())
        #: Where there must be room: for logs, for what libraries write in passing, for a database in a file.
        self.folders = [mill.config.var / "logs", Path(tempfile.gettempdir()), *mill.database_folder()]
        self.clock = ClockWatch(mill.now(), boot_micros())
        self.messages = Messages(mill, self.hear) if broker_url(mill) else None
        self.workers = Workers(Runner(mill, executors), workers, self.takes)
        self.agenda = Agenda()
        self.timer = BackgroundScheduler(
            executors={"default": TimerThreads(4)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )
        self.signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.stopping = threading.Event()
        #: Jobs that the ledger does not know yet, because the database was away.
        self.awaited = dict(mill.registry.jobs)
        self.reloads = 0
        #: The job whose cursor was looked at last.
        self.audited = ""

    def takes(self, spec: JobSpec) -> bool:
        """Whether the hands beside this clock run the job: not what the broker brings to workers, or needs more."""
        return not spec.needs and (spec.executor != "celery" or self.messages is None)

    # -- the loop

    def run(self) -> None:
        """Until SIGTERM or Ctrl-C: keep time, hand out runs, keep house, reload on SIGHUP."""
        self.start()
        while (asked := self.next_signal()) not in ENDING:
            if asked == signal.SIGHUP:
                self._survive("reload", self.reload)
            self.watch()
        self.stop()

    def next_signal(self) -> int | None:
        try:
            return self.signals.get(timeout=POLL_S)
        except queue.Empty:
            return None

    def watch(self) -> None:
        """What the timer cannot see, because it may stand still itself."""
        self.health.told("room", cramped(self.folders))
        if self.messages is not None:
            self.health.told("messages", self._messages_problem())
        self.health.report(self.now(), jobs=len(self.agenda), workers=self.workers.size, busy=self.workers.busy)
        if not self.workers.runner.executors.alive():
            self.stop()
            raise ClockmillError("the process that starts jobs was killed; start the scheduler again")

    def _messages_problem(self) -> str:
        try:
            return self.messages.watch() if self.messages is not None else ""
        except OSError as e:
            return f"messages: their process cannot be begun: {e}"

    def hear(self, word: str) -> None:
        """What is broadcast to every daemon, in a thread of its own."""
        if word == RELOAD:
            self.signals.put(signal.SIGHUP)
        else:
            # A run was asked for, a job paused or resumed, a run cancelled: the ledger says which.
            self.dispatch()

    def start(self) -> None:
        self._survive("jobs", self.admit)
        self.timer.add_job(self.tick, SlotTrigger(self.agenda), id="slots", max_instances=2)
        now = beside_slots(self.mill.now())
        self.timer.add_job(self.poll, Every(POLL_S), id="poll", next_run_time=now)
        self.timer.add_job(self.house, Every(HOUSE_S), id="house", next_run_time=now)
        self.timer.start()
        if self.messages is not None:
            self._survive("messages", self.messages.start)
        log.info("scheduling %d jobs with %d workers", len(self.agenda), self.workers.size)

    def stop(self) -> None:
        """No new runs; running ones end by themselves within DRAIN_S, or are ended and left to another daemon."""
        self.stopping.set()
        log.info("stopping: %d runs in progress", self.workers.busy)
        self.health.close()
        self.keeper.stop()
        self.timer.shutdown(wait=True)
        patience = threading.Timer(DRAIN_S, self.workers.runner.leases.stop_all, ("the scheduler stopped", True))
        patience.start()
        self.workers.close()
        patience.cancel()
        if self.messages is not None:
            # Last of all: what the last runs tell of is sent.
            self._survive("messages", self.messages.stop)
        self._survive("giving back the lease", self.mill.ledger.release, SCHEDULERS + self.mill.owner)
        self.workers.runner.executors.close()

    def reload(self) -> None:
        """Goes over to the configuration as it is now; one that is wrong leaves the last good one running."""
        old, runner = self.mill, self.workers.runner
        try:
            fresh = reloaded(old)
            executors = runner.executors.renewed(body_of(fresh), str(fresh.config.file or ""))
        except ClockmillError as e:
            log.error("not reloaded, the last good configuration goes on: %s", e)
            return
        changes = list(difference(old.registry, fresh.registry))
        for change in changes:
            log.info("reload: %s", change)
        self.mill = self.keeper.mill = fresh
        self.workers.renew(Runner(fresh, executors, runner.leases))
        for name in set(old.registry.jobs) - set(fresh.registry.jobs):
            self.agenda.drop(name)
        self.reloads += 1
        self.awaited = dict(fresh.registry.jobs)
        self._survive("jobs", self.admit)
        if self.messages is not None:
            self._survive("messages", self.messages.renew, fresh)
        self.timer.modify_job("slots", next_run_time=self.agenda.first() or self.now() + IDLE)
        log.info("reloaded: %d changes, scheduling %d jobs", len(changes), len(self.agenda))

    def now(self) -> datetime:
        """The time. A clock that somebody set is noticed before anything is recorded by it."""
        before = boot_micros()
        now = self.mill.now()
        step = self.clock.look(now, before)
        if step:
            way = "forward" if step > timedelta(0) else "back"
            log.warning("the clock was set %s by %s", way, format_duration(abs(step)))
            if step < timedelta(0):
                self.agenda.turn_back(now)
                self.timer.modify_job("slots", next_run_time=self.agenda.first() or now + IDLE)
            for name in ("poll", "house"):
                # The timer would wait until the old time comes round again.
                self.timer.modify_job(name, next_run_time=beside_slots(now))
        return now

    # -- slots

    def admit(self) -> None:
        """Makes the jobs known to the ledger. Raises StoreError; the next call goes on from there."""
        now = self.now()
        admission = Admission(self.mill, self.awaited.values(), now)
        for name, spec in list(self.awaited.items()):
            try:
                self.add(spec, *admission.admit(spec), now)
            except StoreError:
                raise
            except ClockmillError as e:
                log.error("job %s: %s", name, e)
            except Exception:
                log.exception("job %s", name)
            del self.awaited[name]
        self.report_broken()

    def add(self, spec: JobSpec, listed: Listed | None, cursor: datetime, now: datetime) -> None:
        """From now on the job's slots are recorded as they come; those missed while nothing ran, at once."""
        if listed is None:
            self.agenda.drop(spec.name)
            return
        if listed.schedule.is_reboot and not self.reloads:
            boot_run(self.mill, spec, now)
        self.agenda.put(listed, min(cursor, now))

    def tick(self) -> None:
        """Slots have come."""
        self.record(self.agenda.take())
        self.dispatch()
        if self.messages is not None and self.workers.left:
            # Whoever brings them to workers need not wait for its next look.
            ring(self.mill.config.var)

    def record(self, jobs: Sequence[Listed]) -> None:
        """Gives the slots that have come their rows; jobs for which that fails come again with the next poll."""
        try:
            advance_all(self.mill, jobs, self.now(), self.clock.leapt)
        except Exception as e:
            for job in jobs:
                self.agenda.hurry(job.spec.name)
            if not isinstance(e, ClockmillError | StoreError):
                log.exception("slots")
            else:
                log.error("slots: %s", e)

    def audit(self) -> None:
        """Slots that no tick announced: somebody else changed what the ledger holds. A few jobs at each look."""
        now = self.now()
        rows = self.mill.ledger.cursors(self.audited, AUDITED)
        self.audited = rows[-1].name if len(rows) == AUDITED else ""
        for row in rows:
            job = self.agenda.get(row.name)
            if job is None or job.digest != row.spec_hash:
                continue
            following = job.schedule.next(instant(row.cursor_us))
            if following is not None and following <= now:
                self.agenda.hurry(row.name)

    # -- runs

    def poll(self) -> None:
        if self.awaited:
            self._survive("jobs", self.admit)
        self._watched("audit", self.audit)
        self.record(self.agenda.take())
        self.dispatch()
        self.health.beat(self.mill.now())

    def dispatch(self) -> None:
        """Due runs for the workers that are free, soon and in another thread."""
        if self.workers.size and not self.stopping.is_set():
            self.workers.look()

    # -- the house

    def house(self) -> None:
        self._watched("scheduler lease", self.mill.ledger.lease, SCHEDULERS + self.mill.owner, ALIVE_S)
        self._survive("housekeeping", self.keeper.keep)

    def report_broken(self) -> None:
        """Jobs whose code cannot be loaded stay in the ledger, marked; so do jobs that nothing declares any more."""
        broken = dict(self.mill.registry.broken)
        rows = self.mill.ledger.cursors()
        for row in rows:
            if row.name not in self.mill.registry.jobs and row.state != "broken":
                broken.setdefault(row.name, "no code, entry point or configuration declares it")
        for name, reason in broken.items():
            log.error("job %s is broken: %s", name, reason)
            self._survive(f"job {name}", self.mill.ledger.set_job_state, name, "broken", reason)

    def _watched(self, what: str, action: Callable[..., Any], *arguments: Any) -> None:
        """What has to go well for this scheduler to be of use."""
        self.health.told(what, self._survive(what, action, *arguments))

    @staticmethod
    def _survive(what: str, action: Callable[..., Any], *arguments: Any) -> str:
        """Nothing that goes wrong with one job, or with the database, may end the loop; what went wrong."""
        try:
            action(*arguments)
        except (ClockmillError, StoreError) as e:
            log.error("%s: %s", what, e)
            return str(e)
        except Exception as e:
            log.exception("%s", what)
            return f"{what}: {type(e).__name__}: {e}"
        return ""


def main(
    mill: Mill,
    workers: int | None = None,
    executors: Executors | None = None,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Runs the daemon in the foreground until SIGTERM or Ctrl-C; SIGHUP reloads.

    `executors`: made before the caller opened anything; by default they are made here, and nothing may be open yet.
    `announce` is called when signals are heard already, and nothing has started yet.
    """
    scheduler = Scheduler(
        mill,
        executors or executors_of(mill, reloadable=True),
        mill.config.table("scheduler")["workers"] if workers is None else workers,
    )
    for number in (*ENDING, signal.SIGHUP):
        # The one queue that a handler may put into while the loop it interrupts waits at it.
        signal.signal(number, lambda number, _: scheduler.signals.put(number))
    announce()
    scheduler.run()
