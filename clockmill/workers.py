"""The hands of a scheduler: due runs are claimed for those that are free, several in one transaction.

One thread, the desk, talks to the ledger about claims and ends. What gathers while it does so shares its next
transactions: under load a commit serves many runs, and a lonely run waits for nobody.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from clockmill.bell import Bell
from clockmill.errors import ClockmillError
from clockmill.job_spec import JobSpec
from clockmill.runner import PERSIST_S, PERSIST_TRIES, Ended, Runner
from clockmill.slots import micros
from db.errors import DatabaseUnavailable, StoreError
from db.pause import pause
from db.run import Claim
from db.tables import Record

#: How often the ledger is searched for due runs that nobody announced: retries, orphans, other hosts.
POLL_S = 1.0
#: Between two turns of the desk. Under load a turn then serves many runs, and costs hardly more than for one.
GATHER_S = 0.005
#: Due runs are read so many at a time. A more urgent one that comes meanwhile waits for the next look.
PAGE = 200

#: Answers to a claim after which asking again at once would bring the same.
BEATEN = ("taken", "done", "not_due")

log = logging.getLogger("clockmill.workers")


class Workers:
    """`size` runs at once. `look` says that there may be something to do."""

    def __init__(self, runner: Runner, size: int, takes: Callable[[JobSpec], bool] = lambda _: True) -> None:
        """`takes`: whether a job's runs are for these hands."""
        self.takes = takes
        self.left = self._left(runner)
        self.runner = runner
        self.size = size
        self.bell = Bell(runner.mill.config.var, runner.mill.owner)
        self.hands = ThreadPoolExecutor(max(1, size), thread_name_prefix="worker")
        #: Attempts under way: of all runners (a reload makes a new one), and of each.
        self.busy = 0
        self.busy_of: Counter[Runner] = Counter()
        #: Attempts that have ended and are not written yet.
        self.ended: list[Ended] = []
        self.lock = threading.Lock()
        self.desk: threading.Thread | None = None
        self.accepting = True
        self.closing = False
        #: What the last search found, and jobs whose runs cannot begin before another run has ended.
        self.found: deque[Record] = deque()
        self.found_at = 0.0
        #: Whether it found all there was: until somebody rings there is nothing else.
        self.found_all = False
        #: When the desk's last turn ended.
        self.turned_at = 0.0
        self.hidden: set[str] = set()
        #: Jobs whose next run waits for one that has begun, and that may come again (retry, rescue): only fresh runs of
        #: theirs are passed over, or what they wait for would never be found.
        self.resting: set[str] = set()

    def look(self) -> None:
        if self.desk is None:
            self.desk = threading.Thread(target=self._attend, name="desk", daemon=True)
            self.desk.start()
        self.bell.ring()

    def renew(self, runner: Runner) -> None:
        """Runs begin with this runner from now on; the executors of the old one close when the last of theirs ends."""
        with self.lock:
            old, self.runner, self.left = self.runner, runner, self._left(runner)
            idle = not self.busy_of[old]
        if idle:
            old.executors.close()

    def _left(self, runner: Runner) -> set[str]:
        """Jobs that are for others."""
        return {name for name, spec in runner.mill.registry.jobs.items() if not self.takes(spec)}

    def close(self) -> None:
        """Returns when everything under way has ended and is written; no new run begins."""
        self.accepting = False
        self.hands.shutdown(wait=True)
        self.closing = True
        if self.desk is not None:
            self.bell.ring()
            self.desk.join()
        self.bell.close()

    # -- the desk

    def _attend(self) -> None:
        while not self.closing:
            self.bell.wait(POLL_S)
            self._gather()
            self._survive(self._write_ends)
            if self.accepting:
                self._survive(self._hand_out)
            self.turned_at = time.monotonic()
        for _ in range(PERSIST_TRIES):
            self._survive(self._write_ends)
            if not self.ended:
                return
            pause(PERSIST_S)

    def _gather(self) -> None:
        """Right after a turn, lets ends and new runs come together for the next one; not while hands are idle that
        there is work for."""
        until = self.turned_at + GATHER_S
        while (rest := until - time.monotonic()) > 0 and not self.closing:
            if not self.found:
                pause(rest)
            elif self.busy:
                self.bell.wait(rest)
            else:
                return

    @staticmethod
    def _survive(work: Callable[..., None], *arguments: object) -> None:
        """Nothing that goes wrong with one run, or with the database, may end the desk."""
        try:
            work(*arguments)
        except (ClockmillError, StoreError) as e:
            log.error("%s", e)
        except Exception:
            log.exception("%s", work.__name__)

    def _write_ends(self) -> None:
        with self.lock:
            ended, self.ended = self.ended, []
        if not ended:
            return
        # Some of what waited may begin now.
        self._see_all()
        try:
            self._settle(ended)
        except DatabaseUnavailable:
            with self.lock:
                self.ended += ended
            raise
        except Exception:
            # One that cannot be written must not keep the others from it.
            for one in ended:
                self._survive(self._settle, [one])
                self.runner.leases.release(one.claim)

    def _settle(self, ended: list[Ended]) -> None:
        for one, ending in zip(ended, self.runner.settle(ended), strict=True):
            because = f": {ending.reason}" if ending.reason else ""
            log.info("run %d: %s %s%s", one.claim.run_id, one.claim.job, ending.state, because)

    def _hand_out(self) -> None:
        """Claims due runs while hands are free."""
        if time.monotonic() - self.found_at > POLL_S:
            self.found.clear()
            self._see_all()
        while (free := self.size - self.busy) > 0 and self.runner.executors.alive():
            asked = self._next(free)
            if not asked:
                return
            runner = self.runner
            answers, asked_at = runner.claim_all([(row.run_id, spec) for row, spec in asked])
            for (row, spec), answer in zip(asked, answers, strict=True):
                if isinstance(answer, Claim):
                    self._begin(runner, answer, spec, asked_at)
                elif answer == "waits":
                    # What waits for another run of its job must not hide the runs of other jobs.
                    (self.hidden if row.begun else self.resting).add(spec.name)
            if not self.found and (self.found_all or all(answer in BEATEN for answer in answers)):
                return

    def _see_all(self) -> None:
        self.hidden.clear()
        self.resting.clear()

    def _next(self, free: int) -> list[tuple[Record, JobSpec]]:
        """Due runs for so many hands, the most urgent first."""
        jobs = self.runner.mill.registry.jobs
        if not self.found:
            now = micros(self.runner.mill.now())
            without = self.hidden | self.left
            self.found.extend(self.runner.mill.ledger.claimable(now, PAGE, without, self.resting))
            self.found_all = len(self.found) < PAGE
            self.found_at = time.monotonic()
        asked: list[tuple[Record, JobSpec]] = []
        while self.found and len(asked) < free:
            row = self.found.popleft()
            if row.job not in jobs:
                self.hidden.add(row.job)
            elif row.job not in self.hidden and (row.begun or row.job not in self.resting):
                asked.append((row, jobs[row.job]))
        return asked

    # -- the hands

    def _begin(self, runner: Runner, claim: Claim, spec: JobSpec, asked_at: int) -> None:
        log.info("run %d: %s, attempt %d", claim.run_id, claim.job, claim.attempt)
        with self.lock:
            self.busy += 1
            self.busy_of[runner] += 1
        self.hands.submit(self._work, runner, claim, spec, asked_at)

    def _work(self, runner: Runner, claim: Claim, spec: JobSpec, asked_at: int) -> None:
        ended = None
        try:
            ended = runner.attempt(claim, spec, asked_at)
        except Exception:
            log.exception("run %d: %s", claim.run_id, claim.job)
        with self.lock:
            self.ended += [ended] if ended else []
            self.busy -= 1
            self.busy_of[runner] -= 1
            outlived = runner is not self.runner and not self.busy_of[runner]
        if outlived:
            runner.executors.close()
        self.bell.ring()
