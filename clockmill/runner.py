"""One attempt, from claim to ending: the way every run takes, whichever door it came through."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

from clockmill.executors import Executors, Exit, Order, Tell
from clockmill.executors.process_tree import kill_survivors
from clockmill.job_spec import JobSpec
from clockmill.leases import CANCELLED, Leases
from clockmill.mill import Mill
from clockmill.sizes import format_size
from clockmill.slots import instant, iso, micros
from db.errors import DatabaseUnavailable
from db.lease_clock import boot_micros
from db.pause import pause
from db.run import MAX_LOST, Claim, Ending, Terms, Verdict, idempotency_key
from db.tables import Record
from db.triggers import events_of

#: The longest wait between two attempts.
LONGEST_BACKOFF = timedelta(hours=1)
#: More would leave what a timedelta can hold; a millisecond doubled so often is past the longest wait.
MOST_DOUBLINGS = 22
#: A wait is so much longer or shorter than planned, at most.
SPREAD = 0.2
#: Progress reaches the ledger at most so often.
PROGRESS_S = 1.0
#: An ending that cannot be written for want of the database is tried again so often, so many times.
PERSIST_S, PERSIST_TRIES = 2.0, 150

log = logging.getLogger("clockmill.runner")


@dataclass
class Watch:
    """What is learned of an attempt while it runs."""

    reason: str = ""
    #: The exception that ended it and its base classes, by name.
    errors: tuple[str, ...] = ()
    #: clockmill's own database left it.
    lost: bool = False
    #: What a job that has nothing to commit came to.
    report: Mapping[str, Any] | None = None
    stopped: str = ""
    told_at: float = 0.0
    listener: Callable[[Mapping[str, Any]], None] | None = None


class Runner:
    """Claims runs, orders them from the executors, holds their leases and writes what became of them."""

    def __init__(self, mill: Mill, executors: Executors, leases: Leases | None = None) -> None:
        self.mill = mill
        self.executors = executors
        self.leases = leases or Leases(mill.ledger)
        self._logs = str(mill.logs)

    def claim(self, run_id: int, spec: JobSpec) -> tuple[Claim | Verdict, int]:
        """The claim or why there is none, and when it was asked for on the boot clock: leases count from there."""
        answers, asked_at = self.claim_all([(run_id, spec)])
        return answers[0], asked_at

    def claim_all(self, asked: Sequence[tuple[int, JobSpec]]) -> tuple[list[Claim | Verdict], int]:
        """The same for several runs, in one transaction."""
        asked_at, now = boot_micros(), micros(self.mill.now())
        return self.mill.ledger.claim_all([(run_id, self.terms(spec)) for run_id, spec in asked], now), asked_at

    def terms(self, spec: JobSpec) -> Terms:
        """The job's policies as the ledger needs them."""
        after = spec.after if spec.schedule else None
        places = self.mill.config.table("pools").get(spec.pool or "", 0)
        return Terms(spec.overlap, spec.on_lost, after, spec.pool, places)

    def run(
        self, claim: Claim, spec: JobSpec, claimed_at_us: int, listener: Tell | None = None, echo: bool = False
    ) -> Ending:
        """Runs the attempt to its end and records it. `listener` hears its progress; `echo` shows its output."""
        ended = self.attempt(claim, spec, claimed_at_us, listener, echo)
        for _ in range(PERSIST_TRIES):
            try:
                return self.settle([ended])[0]
            except DatabaseUnavailable as e:
                log.warning("run %s: its ending cannot be written yet: %s", claim.run_id, e)
                pause(PERSIST_S)
        self.leases.release(claim)
        return Ending("lost", "the database stayed away; another process will find the run")

    def attempt(
        self, claim: Claim, spec: JobSpec, claimed_at_us: int, listener: Tell | None = None, echo: bool = False
    ) -> "Ended":
        """Runs the attempt to its end, which `settle` has to write: until then its lease is held."""
        watch = Watch(listener=listener)
        order = self.order(claim, spec, echo)

        def end(reason: str, at_once: bool) -> None:
            watch.stopped = watch.stopped or reason
            self.executors.end(order, at_once)

        self.leases.hold(claim, end, claimed_at_us)
        try:
            if claim.survivor:
                log.info("run %d: killing what its lost attempt left", claim.run_id)
                kill_survivors(*claim.survivor)
            with self._redis(spec) if claim.shard_of is None else nullcontext():
                found = self.executors.run(spec.executor, order, lambda message: self._hear(claim, watch, message))
            return Ended(claim, spec, found, watch)
        except BaseException:
            self.leases.release(claim)
            raise

    def settle(self, ended: Sequence["Ended"]) -> list[Ending]:
        """Records how attempts ended, in one transaction, unless the job's own process has committed its success.

        Raises DatabaseUnavailable, and may be called again, when nothing could be written.
        """
        now = micros(self.mill.now())
        ends = [(one.claim, ending_of(one.claim, one.spec, one.exit, one.watch, now)) for one in ended]
        stands = self.mill.ledger.finish_all(ends, now)
        for one in ended:
            self.leases.release(one.claim)
        return [ending if run is None else told(claim, run) for (claim, ending), run in zip(ends, stands, strict=True)]

    def order(self, claim: Claim, spec: JobSpec, echo: bool) -> Order:
        return Order(
            run_id=claim.run_id,
            job=claim.job,
            attempt=claim.attempt,
            fence=claim.fence,
            log=f"{self._logs}{os.sep}{claim.run_id}.{claim.attempt}.log",
            timeout_s=spec.timeout.total_seconds(),
            claim=claim.__dict__,
            command=spec.command,
            shell=spec.shell,
            environment={**os.environ, **spec.environment, **variables(claim)} if spec.command else None,
            folder=str(self.mill.config.home / expand(spec.folder)) if spec.command else "",
            stdin=spec.stdin or self._events(claim, spec),
            echo=echo,
            memory=spec.memory,
            open_files=spec.open_files,
        )

    def _events(self, claim: Claim, spec: JobSpec) -> str:
        """What a command that events triggered reads, unless it was given something else: one event a line."""
        told = events_of(self.mill.engine, claim.run_id) if spec.command and spec.on else []
        return "".join(f"{event}\n" for event in told)

    # -- while it runs

    def _redis(self, spec: JobSpec) -> AbstractContextManager[None]:
        """Keeps the embedded Redis for a job that writes to it. Started by the job it would die with the job's tree."""
        if self.mill.config.table("redis")["url"] != "embedded" or not any(output.redis for output in spec.outputs):
            return nullcontext()
        from db.redis_server import kept_open

        return kept_open(self.mill.config.var)

    def _hear(self, claim: Claim, watch: Watch, message: Mapping[str, Any]) -> None:
        if "reason" in message:
            watch.reason, watch.errors = storable(message["reason"]), tuple(message.get("errors", ()))
            watch.lost = message.get("lost", False)
        elif "report" in message:
            watch.report = message["report"]
        elif "pid" in message:
            self._try(lambda: self.mill.ledger.place(claim, message["pid"], message["pid_start"]))
        elif time.monotonic() - watch.told_at >= PROGRESS_S:
            watch.told_at = time.monotonic()
            self._try(lambda: self.mill.ledger.progress(claim, message["progress"], storable(message["note"])))
        if watch.listener:
            watch.listener(message)

    @staticmethod
    def _try(tell: Callable[[], None]) -> None:
        """Notes beside a run are not worth its life."""
        try:
            tell()
        except DatabaseUnavailable as e:
            log.warning("%s", e)


@dataclass(frozen=True)
class Ended:
    """An attempt that has ended, and what was learned of it."""

    claim: Claim
    spec: JobSpec
    exit: Exit
    watch: Watch


def told(claim: Claim, run: Record) -> Ending:
    """The ending of an attempt that does not hold its run any more, by the run's row."""
    if run.fence == claim.fence:
        return Ending(run.state, run.reason, exit_code=run.exit_code)
    log.warning("run %d, attempt %d: nothing of it is committed; the run was claimed again", run.run_id, claim.attempt)
    return Ending("lost", f"the run was claimed again, it is {run.state}")


def ending_of(claim: Claim, spec: JobSpec, ended: Exit, watch: Watch, now_us: int) -> Ending:
    """What an attempt that did not commit by itself came to, and whether another one follows."""
    report = {"peak_rss_mb": round(ended.peak_rss_mb, 1)}
    if ended.cause == "exit" and ended.code == 0 and (spec.command or watch.report is not None):
        return Ending("succeeded", exit_code=0, report={**report, **(watch.report or {})})
    if watch.stopped in CANCELLED.values():
        return Ending("cancelled", watch.stopped, ended.code, ended.signal, report=report)
    if ended.cause in ("orphaned", "cancel"):
        return _lost(claim, spec, ended, watch.stopped or "its process was lost", now_us)
    if watch.lost and ended.cause == "exit":
        # At once, the same would come of it until none of the lost attempts that a run has is left.
        later = now_us + backoff(claim, spec, claim.lost + 1) // timedelta(microseconds=1)
        return _lost(claim, spec, ended, watch.reason, later)
    reason = _reason(spec, ended, watch)
    state = "timed_out" if ended.cause == "timeout" else "failed"
    used = claim.attempt - claim.lost
    if used > spec.retries or not _retried(spec, ended, watch):
        return Ending(state, reason, ended.code, ended.signal, report=report)
    due = now_us + backoff(claim, spec, used) // timedelta(microseconds=1)
    return Ending("retry_wait", f"{reason}; attempt {used + 1} follows", ended.code, ended.signal, due, state)


def _retried(spec: JobSpec, ended: Exit, watch: Watch) -> bool:
    """Whether `retry_on` names what happened. A signal counts as the exit code that a shell makes of it."""
    if not spec.retry_on:
        return True
    if ended.cause == "timeout":
        return "timeout" in spec.retry_on
    code = 128 + ended.signal if ended.signal else ended.code
    return not {code, *watch.errors}.isdisjoint(spec.retry_on)


def backoff(claim: Claim, spec: JobSpec, used: int) -> timedelta:
    """The wait after so many attempts: doubled each time, and spread by run: they must not all come back at once."""
    wait: timedelta = min(min(spec.backoff, LONGEST_BACKOFF) * 2 ** min(used - 1, MOST_DOUBLINGS), LONGEST_BACKOFF)
    share = crc32(f"{claim.run_id}.{claim.attempt}".encode()) / 2**32
    return wait * (1.0 + SPREAD * (2 * share - 1))


def _lost(claim: Claim, spec: JobSpec, ended: Exit, why: str, now_us: int) -> Ending:
    if spec.on_lost == "fail":
        return Ending("lost", f"{why}; on_lost = fail forbids to run it again", ended.code, ended.signal)
    if claim.lost + 1 >= MAX_LOST:
        return Ending("lost", f"{why}; that was lost attempt {claim.lost + 1}", ended.code, ended.signal)
    return Ending("retry_wait", why, ended.code, ended.signal, now_us, "lost")


def _reason(spec: JobSpec, ended: Exit, watch: Watch) -> str:
    if ended.cause == "memory" and spec.memory:
        return f"held more than memory = {format_size(spec.memory)}"
    if ended.cause == "timeout":
        return f"timed out after {spec.timeout.total_seconds():g} s"
    if watch.reason:
        return watch.reason
    if ended.signal:
        return f"killed by {signal.Signals(ended.signal).name}"
    if ended.code == 0:
        return "its process ended before the job returned"
    return f"exit code {ended.code}"


def storable(text: object) -> str:
    """A text that every database takes: PostgreSQL refuses NUL, and none knows half a surrogate pair."""
    return str(text).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def expand(folder: str) -> Path:
    """`~` and `~user` as the shell reads them; left as they are where there is no such user, for the job to fail on."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        return Path(folder)


def variables(claim: Claim) -> dict[str, str]:
    """What a command finds about the run that it is."""
    return {
        "CLOCKMILL_RUN_ID": str(claim.run_id),
        "CLOCKMILL_JOB": claim.job,
        "CLOCKMILL_SLOT": iso(instant(claim.slot_us)) if claim.slot_us is not None else "",
        "CLOCKMILL_ATTEMPT": str(claim.attempt),
        "CLOCKMILL_FENCE": str(claim.fence),
        "CLOCKMILL_IDEMPOTENCY_KEY": idempotency_key(claim),
    }
