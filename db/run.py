"""A run as the ledger is told of it and tells of it: plain values, no database."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from db.tables import Record

#: So many lost attempts end a run: whatever kills its worker would kill the next one too.
MAX_LOST = 5

Verdict = Literal["taken", "done", "skipped", "waits", "not_due", "lost"]


@dataclass(frozen=True)
class NewRun:
    """A row to be recorded: a slot that is to run, slots that will not, or a run that somebody asked for."""

    slot_key: str
    trigger: str
    state: str
    due_us: int
    slot_us: int | None = None
    slot_last_us: int | None = None
    slot_count: int = 1
    reason: str | None = None
    priority: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Runs with one such key never overlap and begin in the order of their numbers.
    order_key: str | None = None
    forced: bool = False
    retry_of: int | None = None
    reserved_for: str | None = None
    #: The slot key of the run that stands for these slots.
    coalesced_into: str | None = None


@dataclass(frozen=True)
class Move:
    """One slot of a job that has come, and the cursor that passes it."""

    row: NewRun
    cursor_us: int


@dataclass(frozen=True)
class After:
    """Which jobs must have ended, and how, before a run of another one may start."""

    jobs: tuple[str, ...]
    #: all | any of them
    needs: str = "all"
    #: success | failure | any
    outcome: str = "success"
    #: Jobs with a schedule from which those without one are triggered, directly or not.
    roots: tuple[str, ...] = ()


@dataclass(frozen=True)
class Follow:
    """How a job without a schedule is triggered by others, and what its runs are then given."""

    KEYS: ClassVar = ("job", "upstream", "needs", "outcome", "priority", "order_key")

    after: After
    priority: int = 0
    order_key: str | None = None

    def rows(self, job: str) -> list[dict[str, Any]]:
        """One for each job it follows, by name."""
        shared = (self.after.needs, self.after.outcome, self.priority, self.order_key)
        return [dict(zip(self.KEYS, (job, name, *shared), strict=True)) for name in sorted(self.after.jobs)]


@dataclass(frozen=True)
class Terms:
    """A job's policies, as far as they decide whether one of its runs may start."""

    overlap: str = "skip"
    on_lost: str = "rerun"
    after: After | None = None
    #: At most `places` runs in this pool at once, of whatever job, on whatever host.
    pool: str | None = None
    places: int = 0


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt, until another claim of the run."""

    run_id: int
    job: str
    slot_us: int | None
    slot_key: str
    trigger: str
    attempt: int
    #: Attempts that were lost before this one; they do not count against `retries`.
    lost: int
    fence: int
    owner: str
    params: Mapping[str, Any]
    #: The run whose shard it is.
    shard_of: int | None = None
    #: (pid, start time) of the lost attempt before this one, if it ran on this host: it may still be at work.
    survivor: tuple[int, int] | None = None

    @staticmethod
    def of(run: Record, survivor: tuple[int, int] | None = None) -> "Claim":
        """The claim that the run's row tells of."""
        return Claim(
            run_id=run.run_id,
            job=run.job,
            # A run that does a slot again has none of its own, but works for that one.
            slot_us=run.slot_last_us if run.slot_us is None else run.slot_us,
            slot_key=run.slot_key,
            trigger=run.trigger,
            attempt=run.attempt,
            lost=run.lost,
            fence=run.fence,
            owner=run.owner,
            params=json.loads(run.params_json),
            shard_of=run.shard_of,
            survivor=survivor,
        )


@dataclass(frozen=True)
class Ending:
    """What an attempt came to. `due_us` set: the run waits for its next attempt."""

    state: str
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    due_us: int | None = None
    #: What is recorded of the attempt when the run goes on: failed, timed_out or lost (which uses up no retry).
    attempt: str | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


def idempotency_key(claim: Claim) -> str:
    """The same for every attempt of a run, different for every run of every job."""
    return f"{claim.job}/{claim.slot_key}"
