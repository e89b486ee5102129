"""From the outbox to the broker: in the order of each key, marked when the broker has answered for it.

Whoever holds the lease relays. Two who believe to hold it send twice, with the same ids; nothing is lost by it.
"""

import logging
from collections.abc import Iterator, Sequence

from clockmill.exchange.publisher import NOBODY, Letter, Publisher
from clockmill.exchange.topology import EVENTS
from clockmill.mill import Mill
from clockmill.slots import micros
from db import outbox
from db.tables import Record

LEASE = "relay"
LEASE_S = 10
SECOND = 1_000_000
#: An event that the broker would not have is tried again after so many seconds; the last one stands for the rest.
AGAIN_S = (1, 5, 15, 60, 300)

log = logging.getLogger("clockmill.relay")


class Relay:
    """Sends what is due. `problem`: why something could not be sent, the last time."""

    def __init__(self, mill: Mill, publisher: Publisher) -> None:
        self.mill = mill
        self.publisher = publisher
        self.sent = 0
        self.problem = ""

    def turn(self) -> int:
        """One batch; how many events were sent or given up. Raises BrokerUnavailable; nothing is lost then."""
        rows = outbox.due(self.mill.engine, micros(self.mill.now()))
        settled = 0
        for flight in flights(rows):
            answers = self.publisher.send([Letter(row.body, EVENTS, row.type, row.event_id) for row in flight])
            settled += self._note(flight, answers)
            if any(answers):
                # What follows one that was refused may have its key.
                break
        return settled

    def _note(self, flight: Sequence[Record], answers: Sequence[str]) -> int:
        now = micros(self.mill.now())
        done, again = [], []
        for row, answer in zip(flight, answers, strict=True):
            if not answer or (answer.startswith(NOBODY) and not row.kept):
                done.append(row.seq)
                continue
            wait = AGAIN_S[min(row.tries, len(AGAIN_S) - 1)]
            again.append((row.seq, now + wait * SECOND, answer))
        outbox.mark_published(self.mill.engine, done, now)
        outbox.postpone(self.mill.engine, again, now)
        self.sent += len(done)
        self._complain(again[0][2] if again else "")
        return len(done)

    def _complain(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("an event stays in the outbox: %s; clockmill queues shows how many", problem)
        self.problem = problem


def flights(rows: Sequence[Record]) -> Iterator[list[Record]]:
    """The rows in parts that may be under way at once: of each key one, for the broker may refuse any."""
    rest = list(rows)
    while rest:
        flight, later, keys = [], [], set()
        for row in rest:
            if row.order_key is not None and row.order_key in keys:
                later.append(row)
                continue
            keys.add(row.order_key)
            flight.append(row)
        yield flight
        rest = later
