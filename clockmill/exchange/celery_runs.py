"""What a Celery worker does with a message: the run it names is claimed in the ledger, carried out, and ended there."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from clockmill.bell import ring
from clockmill.exchange.run_messages import LONG_TASK, TASK
from clockmill.mill import Mill
from clockmill.runner import Runner
from db.errors import DatabaseUnavailable
from db.run import Claim, Ending
from db.tables import Record

if TYPE_CHECKING:
    from celery import Celery

#: The largest number that a run can have.
LARGEST = 2**63 - 1
#: Progress is told to Celery at most so often.
PROGRESS_S = 0.5

log = logging.getLogger("clockmill.worker")


class Runs:
    """The runs of one worker."""

    def __init__(self, mill: Mill, runner: Runner, dead: Callable[[], None], answered: Callable[[], None]) -> None:
        """`dead` is called when this process can start no job any more; `answered` after each message."""
        self.mill = mill
        self.runner = runner
        self.dead = dead
        self.answered = answered
        self.busy = 0
        self._lock = threading.Lock()

    def register(self, app: "Celery") -> None:
        """Adds the two tasks: the same, answered for after the run or before it."""

        def run(task: Any, *arguments: Any, **_: Any) -> Mapping[str, Any]:
            # What a stranger has sent may have none, or others.
            return self.carry_out(task, arguments[0] if arguments else None)

        for name, late in ((TASK, True), (LONG_TASK, False)):
            app.task(run, name=name, bind=True, acks_late=late, ignore_result=True, max_retries=0)

    def carry_out(self, task: Any, run_id: Any) -> Mapping[str, Any]:
        """One message. Raises Ignore where there is nothing to do, Reject where another worker should."""
        from celery.exceptions import Ignore, Reject

        with self._lock:
            self.busy += 1
        try:
            if not self.runner.executors.alive():
                self.dead()
                raise Reject("the process that starts jobs was killed", requeue=True)
            ending = self._carry_out(task, run_id)
            if ending is None:
                raise Ignore
            return {"run_id": run_id, "state": ending.state}
        except DatabaseUnavailable as e:
            # The run is in the ledger: when that is back, its message is sent again.
            log.warning("run %s: %s", run_id, e)
            raise Ignore from None
        finally:
            with self._lock:
                self.busy -= 1
            # The answer follows when this thread is through.
            threading.Timer(0.01, self.answered).start()

    def _carry_out(self, task: Any, run_id: Any) -> Ending | None:
        run = self.mill.ledger.run(run_id) if type(run_id) is int and 0 < run_id <= LARGEST else None
        spec = self.mill.registry.jobs.get(run.job) if run is not None else None
        if run is None or spec is None:
            log.warning(
                "run %.50r: %s", run_id, "no such run" if run is None else f"this worker knows no job {run.job}"
            )
            return None
        claim, asked_at = self.runner.claim(run_id, spec)
        if not isinstance(claim, Claim):
            log.info("run %d: %s: %s", run_id, run.job, claim)
            return None
        log.info("run %d: %s, attempt %d", run_id, run.job, claim.attempt)
        teller = Teller(task, run)
        ending = self.runner.run(claim, spec, asked_at, teller.hear)
        log.info("run %d: %s %s%s", run_id, run.job, ending.state, f": {ending.reason}" if ending.reason else "")
        teller.end(ending)
        # What its end has triggered, or let go on, is for whoever looks.
        ring(self.mill.config.var)
        return ending


class Teller:
    """Tells Celery's users of a run: state and info of AsyncResult. The ledger's word counts; this may be lost."""

    def __init__(self, task: Any, run: Record) -> None:
        self.task = task
        self.id = task.request.id
        self.run = run
        self.told_at = 0.0

    def hear(self, message: Mapping[str, Any]) -> None:
        """Progress, from the thread that hears of all runs."""
        if "progress" not in message or time.monotonic() - self.told_at < PROGRESS_S:
            return
        self.told_at = time.monotonic()
        self._tell("PROGRESS", {**self._named(), "progress": message["progress"], "note": str(message["note"])})

    def end(self, ending: Ending) -> None:
        if ending.state == "succeeded":
            self._tell("SUCCESS", {**self._named(), "state": ending.state})
        elif ending.state == "retry_wait":
            self._tell("RETRY", _failure(ending))
        else:
            self._tell("REVOKED" if ending.state == "cancelled" else "FAILURE", _failure(ending))

    def _named(self) -> dict[str, Any]:
        return {"run_id": self.run.run_id, "job": self.run.job}

    def _tell(self, state: str, meta: object) -> None:
        if self.task.app.conf.result_backend == "disabled://":
            return
        try:
            self.task.backend.store_result(self.id, meta, state)
        except Exception as e:
            # Whatever the library makes of a Redis that is away.
            log.warning("run %d: Celery's users are not told %s: %s", self.run.run_id, state, type(e).__name__)


def _failure(ending: Ending) -> Exception:
    from clockmill.errors import JobError

    return JobError(f"{ending.state}: {ending.reason or 'no reason'}")
