"""A scheduler on a virtual clock: the same plan of slots, the same overlap words, no job and no database.

What is not foretold: how long runs take (the caller says), whether they fail, and what other processes do.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clockmill.errors import UsageError
from clockmill.job_spec import JobSpec
from clockmill.schedule import Schedule
from clockmill.slots import TICK, instant, plan, slot_key
from db.overlap import decide
from db.run import NewRun

#: So many rows at most: beyond that nobody reads on, and memory ends.
MOST_ROWS = 100_000

Window = tuple[datetime, datetime]


@dataclass
class Foretold:
    """One row of the ledger that would be: its state changes as the virtual clock goes on."""

    number: int
    job: str
    slot: datetime
    last: datetime
    slots: int
    state: str
    reason: str | None
    due: datetime
    priority: int = 0
    started: datetime | None = None
    ended: datetime | None = None


@dataclass
class Job:
    """One job of the simulation and what is left of it to come."""

    spec: JobSpec
    schedule: Schedule
    lasts: timedelta
    cursor: datetime


class Simulation:
    """`lasts`: how long a run of each job takes. `workers`: runs at once."""

    def __init__(
        self,
        jobs: Iterable[tuple[JobSpec, Schedule]],
        lasts: Callable[[str], timedelta],
        workers: int,
        begin: datetime,
        end: datetime,
        down: Sequence[Window] = (),
    ) -> None:
        self.jobs = {spec.name: Job(spec, schedule, lasts(spec.name), begin - TICK) for spec, schedule in jobs}
        self.workers = workers
        self.end = end
        self.down = sorted(down)
        self.rows: list[Foretold] = []
        self.waiting: list[Foretold] = []
        self.running: list[Foretold] = []
        self.events = [begin, *(at for window in self.down for at in window if begin < at <= end)]
        heapq.heapify(self.events)
        for job in self.jobs.values():
            self._expect(job)

    def run(self) -> list[Foretold]:
        """Every row, in the order in which the ledger would get them."""
        while self.events and self.events[0] <= self.end:
            now = heapq.heappop(self.events)
            while self.events and self.events[0] == now:
                heapq.heappop(self.events)
            self._finish(now)
            if any(begin <= now < end for begin, end in self.down):
                self._lose(now)
            else:
                self._advance(now)
                self._start(now)
        return self.rows

    # -- slots

    def _expect(self, job: Job) -> None:
        following = job.schedule.next(job.cursor)
        if following is not None and following <= self.end:
            heapq.heappush(self.events, following)

    def _advance(self, now: datetime) -> None:
        for job in self.jobs.values():
            steps = plan(job.spec, job.schedule, job.cursor, now, paused=False, trigger="schedule")
            if not steps.rows:
                continue
            job.cursor = steps.cursor
            self._record(job.spec, steps.rows, now)
            self._expect(job)

    def _record(self, spec: JobSpec, rows: Sequence[NewRun], now: datetime) -> None:
        if len(self.rows) + len(rows) > MOST_ROWS:
            raise UsageError(f"more than {MOST_ROWS:,} rows; simulate a shorter time, or some jobs with --job")
        numbers: dict[str, int] = {}
        for row in rows:
            assert row.slot_us is not None, "only slots are planned"
            slot, last = instant(row.slot_us), instant(row.slot_last_us or row.slot_us)
            reason = f"coalesced into run {numbers[row.coalesced_into]}" if row.coalesced_into else row.reason
            found = Foretold(
                len(self.rows) + 1, spec.name, slot, last, row.slot_count, row.state, reason, instant(row.due_us)
            )
            numbers[slot_key(slot)] = found.number
            self.rows.append(found)
            if row.state in ("queued", "scheduled"):
                found.priority = spec.priority
                self.waiting.append(found)
                heapq.heappush(self.events, max(found.due, now))

    # -- runs

    def _finish(self, now: datetime) -> None:
        for row in [row for row in self.running if row.ended is not None and row.ended <= now]:
            spec = self.jobs[row.job].spec
            overstayed = self.jobs[row.job].lasts > spec.timeout
            self._end(row, "timed_out" if overstayed else "succeeded", None)
            if overstayed:
                row.reason = f"timed out after {spec.timeout.total_seconds():g} s"

    def _lose(self, now: datetime) -> None:
        """The host or the scheduler is gone, and what it ran with it."""
        for row in list(self.running):
            row.ended = now
            if self.jobs[row.job].spec.on_lost == "fail":
                self._end(row, "lost", "its worker died; on_lost = fail forbids to run it again")
            else:
                self._end(row, "queued", None)
                self.waiting.append(row)

    def _end(self, row: Foretold, state: str, reason: str | None) -> None:
        row.state, row.reason = state, reason
        self.running.remove(row)

    def _start(self, now: datetime) -> None:
        due = [row for row in self.waiting if row.due <= now]
        for row in sorted(due, key=lambda row: (-row.priority, row.due, row.number)):
            if len(self.running) < self.workers:
                self._try(row, now)

    def _try(self, row: Foretold, now: datetime) -> None:
        job = self.jobs[row.job]
        before = next((other for other in self.running if other.job == row.job), None)
        ahead = next(
            (other.number for other in self.waiting if other.job == row.job and other.number < row.number), None
        )
        step, reason = decide(job.spec.overlap, before.number if before else None, ahead)
        if step == "wait":
            return
        self.waiting.remove(row)
        if step == "skip":
            row.state, row.reason, row.ended = "skipped", reason, now
            return
        if before is not None and step in ("cancel", "terminate"):
            before.ended = now
            self._end(before, "cancelled", f"cancelled by run {row.number}")
        row.state, row.started = "running", now
        row.ended = now + min(job.lasts, job.spec.timeout)
        self.running.append(row)
        heapq.heappush(self.events, row.ended)


# -- the picture

#: What happened in a column of the picture, the most remarkable first, and how it is drawn.
MARKS = {"missed": "m", "lost": "!", "timed_out": "!", "cancelled": "x", "skipped": "s", "coalesced": "c"}
RAN, DOWN, NOTHING = "#", "~", "."
LEGEND = "# runs   m missed   s skipped   c coalesced   x cancelled   ! lost or timed out   ~ down"


def timeline(rows: Sequence[Foretold], begin: datetime, end: datetime, down: Sequence[Window], width: int) -> list[str]:
    """One line a job, `width` columns from begin to end, under a line of times."""
    jobs = list(dict.fromkeys(row.job for row in rows))
    margin = max((len(job) for job in jobs), default=0)
    step = (end - begin) / width
    empty = [_background(begin + step * i, begin + step * (i + 1), down) for i in range(width)]
    lines = [" " * margin + "  " + _axis(begin, end, width)]
    for job in jobs:
        columns = list(empty)
        ranks = [len(MARKS) + 1] * width
        for row in (row for row in rows if row.job == job):
            _draw(row, columns, ranks, begin, step)
        lines.append(f"{job:<{margin}}  {''.join(columns)}")
    return lines


def _background(first: datetime, last: datetime, down: Sequence[Window]) -> str:
    middle = first + (last - first) / 2
    return DOWN if any(begin <= middle < end for begin, end in down) else NOTHING


def _draw(row: Foretold, columns: list[str], ranks: list[int], begin: datetime, step: timedelta) -> None:
    words = list(MARKS)
    ran = row.started is not None
    if row.started is not None:
        _mark(columns, ranks, _span(row.started, row.ended or row.started, begin, step), RAN, len(MARKS))
    if row.state in MARKS:
        at = (row.ended or row.slot, row.ended or row.slot) if ran else (row.slot, row.last)
        _mark(columns, ranks, _span(*at, begin, step), MARKS[row.state], words.index(row.state))


def _span(first: datetime, last: datetime, begin: datetime, step: timedelta) -> range:
    return range(max(0, int((first - begin) / step)), int((last - begin) / step) + 1)


def _mark(columns: list[str], ranks: list[int], span: range, mark: str, rank: int) -> None:
    for i in span:
        if i < len(columns) and rank < ranks[i]:
            columns[i], ranks[i] = mark, rank


def _axis(begin: datetime, end: datetime, width: int) -> str:
    form = "%H:%M" if end - begin <= timedelta(days=2) else "%m-%d"
    marks = [f"{begin + (end - begin) * share / 4:{form}}" for share in range(5)]
    line = ""
    for share, mark in enumerate(marks):
        line = line.ljust(max(0, min(width * share // 4, width - len(mark)))) + mark
    return line
