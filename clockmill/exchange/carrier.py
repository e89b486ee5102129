"""Due runs to the queues of the workers: sent when they are due, and again when nobody claims them.

What was sent is remembered in this process alone. Messages that are lost, sent twice, or sent by two carriers cost
nothing but their way: the ledger knows which runs are due, and a claim is had once.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from clockmill.bell import Bell
from clockmill.errors import ClockmillError
from clockmill.exchange.flows import depths_of
from clockmill.exchange.publisher import Publisher
from clockmill.exchange.run_messages import carried, letter_of, queue_of
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.slots import micros
from db.errors import StoreError
from db.tables import Record

LEASE = "carrier"
LEASE_S = 10
#: The lease is renewed so often.
RENEW_S = 3.0
#: The ledger is looked at so often where no bell rings.
LOOK_S = 0.5
#: And so often for a while after a run was sent that others wait for: its end on another host rings no bell here.
SOON_S, SOON_FOR_S = 0.1, 5.0
#: What goes wrong is tried again after so long.
AGAIN_S = 1.0
#: So many runs of a job are in the queues at once; the others wait in the ledger, which is made for it.
EACH = 100
#: A run that nobody has claimed although its queue is empty is sent again after so many seconds: its message was lost,
#: or a worker held it while the run had to wait for another one. The last one stands for the rest.
RESENT_S = (2.0, 2.0, 2.0, 5.0)
#: The same for a run that goes by what it needs: the broker keeps what no worker offers, for a person to see.
UNOFFERED_S = (30.0, 60.0, 300.0)
#: So many messages of a job are sent again at once.
RESENT = 10

log = logging.getLogger("clockmill.carrier")


class Carrier:
    """Whoever holds the lease carries."""

    def __init__(self, mill: Mill, publisher: Publisher) -> None:
        self.mill = mill
        self.publisher = publisher
        #: When a run was sent, and how often, by its number and fence: each attempt is a message of its own.
        self.sent: dict[tuple[int, int], tuple[float, int]] = {}
        self.jobs = carried(mill)
        #: Jobs whose runs wait for each other, all of them: a message before its turn would only be sent away.
        self.in_turn = [name for name, spec in self.jobs.items() if spec.overlap == "queue_all"]

        self.soon_until = 0.0

    def look_s(self, now_s: float) -> float:
        """How long the ledger need not be looked at."""
        return SOON_S if now_s < self.soon_until else LOOK_S

    def forget(self) -> None:
        """Everything that is due is sent again: a worker has come that may offer what was missing."""
        self.sent = {}

    def turn(self, now_s: float) -> int:
        """Sends what has to be sent, at this time on a clock of its own; how many messages. Raises BrokerUnavailable:
        the next turn sends what this one did not."""
        if not self.jobs:
            return 0
        now_us = micros(self.mill.now())
        due = self.mill.ledger.carried(self.jobs, now_us, EACH, self.in_turn)
        # One assignment: another thread may say that all is to be forgotten.
        sent = self.sent = {key: self.sent[key] for row in due if (key := (row.run_id, row.fence)) in self.sent}
        fresh = [row for row in due if (row.run_id, row.fence) not in sent]
        rows = fresh + self._unclaimed(due, sent, now_s)
        if rows:
            answers = self.publisher.send([letter_of(self.mill, self.jobs[row.job], row.run_id) for row in rows])
            self._note(rows, answers, sent, now_s)
            if any(row.job in self.in_turn for row in rows):
                self.soon_until = now_s + SOON_FOR_S
        return len(rows)

    def _unclaimed(
        self, due: Iterable[Record], sent: dict[tuple[int, int], tuple[float, int]], now_s: float
    ) -> list[Record]:
        late = [
            row
            for row in due
            if (at := sent.get((row.run_id, row.fence))) and now_s - at[0] >= _wait(self.jobs[row.job], at[1])
        ]
        if not late:
            return []
        queues = {queue_of(self.jobs[row.job]) for row in late} - {""}
        depths = depths_of(self.publisher.url, queues) if queues else {}
        found, counts = [], dict.fromkeys(self.jobs, 0)
        for row in late:
            if not depths.get(queue_of(self.jobs[row.job]), 0) and counts[row.job] < RESENT:
                counts[row.job] += 1
                found.append(row)
        return found

    def _note(
        self,
        rows: Sequence[Record],
        answers: Sequence[str],
        sent: dict[tuple[int, int], tuple[float, int]],
        now_s: float,
    ) -> None:
        for row, answer in zip(rows, answers, strict=True):
            key = (row.run_id, row.fence)
            sent[key] = (now_s, sent.get(key, (0.0, 0))[1] + 1)
            if answer:
                log.warning("run %d waits in the ledger: %s; is a worker running?", row.run_id, answer)


def _wait(spec: JobSpec, times: int) -> float:
    waits = UNOFFERED_S if spec.needs else RESENT_S
    return waits[min(times, len(waits)) - 1]


class Carrying(threading.Thread):
    """A carrier at work in a thread, while this process has the lease."""

    def __init__(self, mill: Mill, url: str) -> None:
        super().__init__(name="carrier", daemon=True)
        self.mill = mill
        self.problem = ""
        self.stopping = threading.Event()
        self.bell = Bell(mill.config.var, f"carrier-{mill.owner}")
        self.carrier = Carrier(mill, Publisher(url, "clockmill carrier"))

    def run(self) -> None:
        held_until = 0.0
        while not self.stopping.is_set():
            try:
                if time.monotonic() >= held_until:
                    held_until = time.monotonic() + RENEW_S if self.mill.ledger.lease(LEASE, LEASE_S) else 0.0
                sent = self.carrier.turn(time.monotonic()) if held_until else 0
                self.problem = ""
            except (ClockmillError, StoreError) as e:
                self._complain(str(e))
            except Exception:
                log.exception("carrier")
                self.stopping.wait(AGAIN_S)
            else:
                if not sent:
                    self.carrier.publisher.beat()
                    self.bell.wait(self.carrier.look_s(time.monotonic()))
        self._end()

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("runs for workers wait in the ledger: %s", problem)
        self.problem = problem
        self.stopping.wait(AGAIN_S)

    def stop(self) -> None:
        self.stopping.set()
        self.bell.ring()
        self.join(5)

    def _end(self) -> None:
        self.carrier.publisher.close()
        self.bell.close()
        try:
            self.mill.ledger.release(LEASE)
        except StoreError as e:
            log.warning("the carrier's lease: %s", e)
