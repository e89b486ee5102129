"""A run that divides its work: its shards are recorded as runs of their own, and it works at them until all are done.

Any worker may claim a shard. The run's own process claims them too, by the same claim as everybody, so that a run
which nobody helps comes to its end, and the hand that it holds is never idle while others wait for one. A process that
was started for a shard goes on with others for a while: loading kernels takes longer than a small shard.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clockmill.bell import ring
from clockmill.errors import JobError
from clockmill.executors import Body, Executors
from clockmill.executors.here import Here
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.runner import Runner
from clockmill.shard_files import Arrays, Files
from clockmill.slots import micros
from db import shards
from db.pause import pause
from db.run import MAX_LOST, Claim
from db.shards import Part
from db.statements import TERMINAL
from db.tables import Record

#: How often a run whose shards are all being worked at elsewhere looks for what came of them.
LOOK_S = 0.1
#: A process that has done its shard takes others for so long, or half of the job's timeout.
GO_ON_S = 30.0
#: States of a shard that came to nothing.
FAILED = tuple(state for state in TERMINAL if state != "succeeded")
#: More would burden the ledger and spare nothing.
MOST = 1000

log = logging.getLogger("clockmill.sharding")


class Division:
    """The work of one claimed run, divided. `body` carries out an order for a shard in this process."""

    def __init__(self, mill: Mill, spec: JobSpec, claim: Claim, files: Files, body: Body) -> None:
        self.mill = mill
        self.spec = spec
        self.claim = claim
        self.files = files
        self.runner = Runner(mill, Executors(body, warm=Here(body)))

    def work(
        self,
        facts: Mapping[str, Any],
        arrays: Arrays,
        ranges: Sequence[tuple[int, int]],
        progress: Callable[[float, str], object],
    ) -> list[Arrays]:
        """What came of each range, in their order. Raises JobError when a shard has failed."""
        digest = self.files.keep_data(facts, arrays)
        parts = [Part(number, *rows) for number, rows in enumerate(ranges)]
        # What failed under an earlier attempt of the run is tried anew, what was done is done.
        known = {shards.number_of(row)[0]: row for row in self._rows(digest)}
        self._record(digest, parts, [part for part in parts if part.number not in known])
        self._again(digest, parts, [row for row in known.values() if row.state in FAILED])
        while True:
            rows = self._rows(digest)
            open_ones = [row for row in rows if not self._is_done(row, len(parts))]
            progress(1 - len(open_ones) / max(len(parts), 1), f"{len(rows) - len(open_ones)} of {len(parts)} shards")
            if not open_ones:
                found = [self.files.found(row) for row in rows]
                damaged = [row for row, one in zip(rows, found, strict=True) if one is None]
                if not damaged:
                    return [one for one in found if one is not None]
                log.warning("run %d: %d files are not what their shards' rows say", self.claim.run_id, len(damaged))
                self._again(digest, parts, damaged)
            elif not work_at_one(self.runner, self.spec, open_ones):
                pause(LOOK_S)

    @staticmethod
    def _is_done(row: Record, count: int) -> bool:
        """Whether the shard has succeeded. Raises JobError when it has come to anything else."""
        if row.state in FAILED:
            number = shards.number_of(row)[0] + 1
            raise JobError(f"shard {number} of {count} (run {row.run_id}) is {row.state}: {row.reason or 'no reason'}")
        return bool(row.state == "succeeded")

    def _again(self, digest: str, parts: Sequence[Part], rows: Sequence[Record]) -> None:
        times = [shards.number_of(row) for row in rows]
        if any(time + 1 >= MAX_LOST for _, time in times):
            raise JobError(f"shards of run {self.claim.run_id} were done {MAX_LOST} times, and came to nothing")
        if times:
            self._record(digest, parts, [Part(n, parts[n].first, parts[n].last, time + 1) for n, time in times])

    def _record(self, digest: str, parts: Sequence[Part], wanted: Sequence[Part]) -> None:
        params = {
            part.number: json.dumps(
                {"number": part.number, "count": len(parts), "first": part.first, "last": part.last, "data": digest}
            )
            for part in parts
        }
        shards.record(self.mill.engine, self.claim, digest, wanted, params, micros(self.mill.now()))
        ring(self.mill.config.var)

    def _rows(self, digest: str) -> list[Record]:
        return rows_of(self.mill, self.claim.run_id, digest)


def rows_of(mill: Mill, run_id: int, digest: str) -> list[Record]:
    return shards.of_run(mill.engine, mill.ledger.clock, run_id, digest, micros(mill.now()))


def work_at_one(runner: Runner, spec: JobSpec, rows: Sequence[Record]) -> bool:
    """Claims the first shard that is free, and works at it in this process; False where there is none."""
    for row in rows:
        if row.free:
            claim, asked_at = runner.claim(row.run_id, spec)
            if isinstance(claim, Claim):
                runner.run(claim, spec, asked_at)
                return True
    return False


def go_on(mill: Mill, spec: JobSpec, done: Claim, body: Body) -> None:
    """Works at other shards of the same run. Its own is committed: a process that is to end one of them may go."""
    assert done.shard_of is not None
    until = time.monotonic() + min(GO_ON_S, spec.timeout.total_seconds() / 2)
    runner = Runner(mill, Executors(body, warm=Here(body, end=lambda: os.kill(os.getpid(), signal.SIGKILL))))
    while time.monotonic() < until and work_at_one(runner, spec, rows_of(mill, done.shard_of, done.params["data"])):
        pass
