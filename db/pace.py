"""How many rows a transaction takes, so that nobody waits long for the lock it holds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from db.pause import pause

#: What one write transaction aims at; readers and other writers may have to wait for 250 ms, not longer.
BATCH_S = 0.1
FIRST_BATCH = 2_000
FEWEST = 100
#: SQLite's waiting writers look every 100 ms; who writes batch after batch must stand back for longer than that now and
#: then, or they would find the lock taken every time. A tenth of the time goes to it.
STAND_BACK_S = 0.11
STAND_BACK_SHARE = 0.1


class Pace:
    """`rows` to put into the next transaction, by what the ones before took."""

    def __init__(self, engine: Engine) -> None:
        self.rows = FIRST_BATCH
        self._one_writer = engine.dialect.name == "sqlite"
        self._owed = 0.0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Around a transaction of `rows` rows, its COMMIT included."""
        began = time.perf_counter()
        yield
        self._took(time.perf_counter() - began)

    def _took(self, seconds: float) -> None:
        self.rows = max(FEWEST, int(self.rows * min(2.0, max(0.25, BATCH_S / max(seconds, 1e-4)))))
        self._owed += seconds * STAND_BACK_SHARE
        if self._one_writer and self._owed >= STAND_BACK_S:
            self._owed = 0.0
            pause(STAND_BACK_S)
