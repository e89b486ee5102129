"""Which job's slot comes next. One heap: a wake-up costs the same with ten jobs and with a hundred thousand."""

import heapq
import threading
from dataclasses import dataclass
from datetime import datetime

from clockmill.job_spec import JobSpec
from clockmill.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Listed:
    """One job of the agenda. `digest`: the hash of its specification."""

    spec: JobSpec
    schedule: Schedule
    digest: str


class Agenda:
    """Jobs go in with `put`, come out of `take` when a slot of theirs has come. Threads may share it.

    It is a reminder, not a record: a slot that is forgotten here is still found by the job's cursor in the ledger.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Listed] = {}
        #: (slot, name); an entry counts only while it is the job's in `_next`.
        self._heap: list[tuple[datetime, str]] = []
        self._next: dict[str, datetime] = {}
        self._due: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, name: str) -> Listed | None:
        return self._jobs.get(name)

    def put(self, job: Listed, after: datetime) -> None:
        """Lists the job, in place of one with its name; its slots count from `after` on."""
        with self._lock:
            self._jobs[job.spec.name] = job
            self._expect(job.spec.name, after)

    def turn_back(self, now: datetime) -> None:
        """The clock was set back: what comes next is counted from there, and what came last is looked at again."""
        with self._lock:
            self._due = dict.fromkeys(self._jobs)
            for name in self._jobs:
                self._expect(name, now)

    def drop(self, name: str) -> None:
        with self._lock:
            for table in (self._jobs, self._next, self._due):
                table.pop(name, None)

    def first(self) -> datetime | None:
        """The next slot of all that has not been collected."""
        with self._lock:
            return self._head()

    def collect(self, now: datetime) -> None:
        """Sets aside, for `take`, the jobs that have a slot up to now."""
        with self._lock:
            while (slot := self._head()) is not None and slot <= now:
                _, name = heapq.heappop(self._heap)
                self._due[name] = None
                # The slots between are found together, by the cursor.
                self._expect(name, now)

    def hurry(self, name: str) -> None:
        """Sets the job aside though nothing of it was expected."""
        with self._lock:
            if name in self._jobs:
                self._due[name] = None

    def take(self) -> list[Listed]:
        """The jobs that were set aside; they are so no longer."""
        with self._lock:
            due, self._due = self._due, {}
            return [self._jobs[name] for name in due]

    def _expect(self, name: str, after: datetime) -> None:
        slot = self._jobs[name].schedule.next(after)
        if slot is None:
            self._next.pop(name, None)
            return
        self._next[name] = slot
        heapq.heappush(self._heap, (slot, name))

    def _head(self) -> datetime | None:
        while self._heap and self._next.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
