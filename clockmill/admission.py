"""Many jobs in few transactions: made known to the ledger, and moved over the slots that have come.

What can be done for one job only is in `clockmill.doors`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

from clockmill.agenda import Listed
from clockmill.doors import activate, advance
from clockmill.errors import ClockmillError
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill, specification
from clockmill.slots import Leap, instant, micros, plan
from db.run import Move
from db.tables import Record

#: A transaction holds so many jobs at most: others wait for what it locks.
AT_ONCE = 250

T = TypeVar("T")


class Admission:
    """Takes jobs in as they are configured now; those that nobody knew before, all at the beginning."""

    def __init__(self, mill: Mill, specs: Iterable[JobSpec], now: datetime) -> None:
        """Raises StoreError, and may be made again, when the database is away."""
        self.mill = mill
        self.now = now
        self.known = {row.name: row for row in mill.ledger.cursors()}
        self.listed: dict[str, Listed | None] = {}
        fresh = [spec for spec in specs if spec.name not in self.known and not spec.after]
        for part in parts(fresh, AT_ONCE):
            mill.ledger.introduce([row for spec in part if (row := self._read(spec))], micros(now))

    def _read(self, spec: JobSpec) -> tuple[str, str, str] | None:
        """What the ledger keeps of the job; None for one that cannot be read."""
        with suppress(ClockmillError):
            schedule = self.mill.schedule(spec)
            text, digest = specification(spec)
            self.listed[spec.name] = Listed(spec, schedule, digest) if schedule else None
            return spec.name, text, digest
        return None

    def admit(self, spec: JobSpec) -> tuple[Listed | None, datetime]:
        """What the agenda keeps of the job (None: it has no schedule), and from where its slots count.

        Raises ClockmillError for a job that cannot be read, StoreError when the database is away.
        """
        if spec.name in self.listed:
            return self.listed[spec.name], self.now
        schedule = self.mill.schedule(spec)
        digest = specification(spec)[1]
        listed = Listed(spec, schedule, digest) if schedule else None
        row = self.known.get(spec.name)
        if row is None or row.spec_hash != digest or row.state == "broken" or spec.after:
            activate(self.mill, spec, self.now)
        same = row is not None and row.spec_hash == digest
        return listed, instant(row.cursor_us) if row is not None and same else self.now


def advance_all(mill: Mill, jobs: Sequence[Listed], now: datetime, leapt: Leap | None) -> None:
    """Records every slot of these jobs up to now. Raises StoreError; then some are recorded and some are not."""
    for part in parts(jobs, AT_ONCE):
        listed = {job.spec.name: job for job in part if not job.spec.after}
        one = partial(_single, listed, now, leapt)
        moved = mill.ledger.advance_all(list(listed), one, micros(now)) if listed else set()
        for job in part:
            if job.spec.name not in moved:
                advance(mill, job.spec, job.schedule, now, leapt=leapt)


def _single(jobs: Mapping[str, Listed], now: datetime, leapt: Leap | None, row: Record) -> Move | None:
    """The one slot of the job that has come; None where there are more, or rows that have a say in it."""
    job = jobs[row.name]
    if row.spec_hash != job.digest:
        return None
    cursor, paused = instant(row.cursor_us), row.state == "paused"
    if len(list(job.schedule.between(cursor, now, limit=2))) != 1:
        # To look through many takes long, and here everybody waits for what this transaction locks.
        return None
    steps = plan(job.spec, job.schedule, cursor, now, paused=paused, trigger="schedule", leapt=leapt)
    if len(steps.rows) != 1 or steps.rows[0].slot_count > 1:
        return None
    return Move(steps.rows[0], micros(steps.cursor))


def parts(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(things), size):
        yield things[begin : begin + size]
