"""Slots of the past, run after all: those that never ran, and, when asked for, those that failed or succeeded."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from clockmill.doors import NEVER_STARTED, retry_run
from clockmill.errors import UsageError
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.schedule import Schedule
from clockmill.slots import TICK, iso, micros, slot_key
from db.run import NewRun
from db.statements import TERMINAL
from db.tables import Record

REPROCESS = ("none", "failed", "completed")
#: So many slots are looked at; more is more than anybody meant.
MOST_SLOTS = 100_000


@dataclass(frozen=True)
class Step:
    """One slot. `row` accounts for it, `last` is the latest run that did it again; `again`: it is to be run now."""

    slot: datetime
    row: Record | None
    last: Record | None
    again: bool

    @property
    def state(self) -> str:
        last = self.last or self.row
        return "not recorded" if last is None else str(last.state)


def steps(
    mill: Mill, spec: JobSpec, schedule: Schedule, begin: datetime, end: datetime, reprocess: str
) -> Iterator[Step]:
    """The slots from begin to end, both included, newest first. Raises UsageError when there are too many."""
    slots = list(islice(schedule.between(begin - TICK, end), MOST_SLOTS + 1))
    if len(slots) > MOST_SLOTS:
        raise UsageError(f"more than {MOST_SLOTS:,} slots lie between {iso(begin)} and {iso(end)}; take a shorter time")
    for slot in reversed(slots):
        ledger = mill.ledger
        row = ledger.run_of_key(spec.name, slot_key(slot)) or ledger.run_covering(spec.name, micros(slot))
        last = latest(mill, row, slot)
        yield Step(slot, row, last, wanted((last or row), reprocess))


def latest(mill: Mill, row: Record | None, slot: datetime) -> Record | None:
    """The latest run that did this slot of the row again; None when there is none."""
    found, us = None, micros(slot)
    while row is not None:
        again = [run for run in mill.ledger.reruns(row) if run.slot_last_us == us]
        row = again[-1] if again else None
        found = row or found
    return found


def wanted(last: Record | None, reprocess: str) -> bool:
    """Whether a slot whose latest run is this one is to be run."""
    if last is None or last.state in NEVER_STARTED or last.state == "upstream_failed":
        return True
    if last.state not in TERMINAL or reprocess == "none":
        return False
    return reprocess == "completed" or last.state != "succeeded"


def record(mill: Mill, spec: JobSpec, step: Step, now: datetime) -> Record:
    """The run that does the slot, reserved for this process."""
    if step.row is None:
        row = NewRun(
            slot_key=slot_key(step.slot),
            trigger="backfill",
            state="queued",
            due_us=micros(now),
            slot_us=micros(step.slot),
            priority=spec.priority,
            reserved_for=mill.owner,
        )
        return mill.ledger.record(spec.name, row, micros(now))
    if step.last is None and step.row.slot_count > 1:
        return retry_run(mill, spec, step.row, now, slot=step.slot, trigger="backfill")
    return retry_run(mill, spec, step.last or step.row, now, trigger="backfill")
