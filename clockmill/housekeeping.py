"""What one process of all does for the others: making up for Redis, and throwing away what is old.

Nothing here is needed for safety; whoever holds the lease does it.
"""

import logging
import shutil
import time
from datetime import timedelta

from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.slots import iso, micros
from db import outputs, retention
from db.errors import RedisUnavailable
from db.mirror import Mirror
from db.publish import make_up, mirror_output
from db.statements import TERMINAL

LEASE = "housekeeping"
LEASE_S = 30
#: Old rows are looked for so often.
PRUNE_S = 3600
#: A server that goes on evicting is written whole at most so often.
REWRITE_S = 60

log = logging.getLogger("clockmill.housekeeping")


class House:
    """Keeps house for one process; remembers when it last threw things away, and what it last complained about."""

    def __init__(self, mill: Mill) -> None:
        self.mill = mill
        self.pruned = -float(PRUNE_S)
        self.complaint = ""
        self.stopped = False
        self.evicted = 0
        self.rewritten = -float(REWRITE_S)

    def stop(self) -> None:
        """What takes long breaks off soon; the next holder of the lease goes on with it."""
        self.stopped = True

    def keep(self) -> None:
        if not self.mill.ledger.lease(LEASE, LEASE_S):
            return
        self._redis()
        if time.monotonic() - self.pruned > PRUNE_S:
            self.pruned = time.monotonic()
            self._prune()

    def _redis(self) -> None:
        mirror, reason = self.mill.mirror_or_reason()
        try:
            if mirror is not None:
                for name in make_up(self.mill.engine, mirror):
                    log.info("Redis has the current version of %s again", name)
                self._evictions(mirror)
        except RedisUnavailable as e:
            reason = str(e)
        if reason and reason != self.complaint:
            log.warning("Redis is not written: %s", reason)
        self.complaint = reason

    def _evictions(self, mirror: Mirror) -> None:
        """A server that throws keys away loses single entities, which no version tells: all are written again."""
        evicted, policy = mirror.evictions()
        if evicted <= self.evicted or time.monotonic() - self.rewritten < REWRITE_S:
            return
        log.error(
            "Redis evicted %d keys (maxmemory-policy %s); set noeviction and more memory. All is written again",
            evicted - self.evicted,
            policy,
        )
        self.evicted, self.rewritten = evicted, time.monotonic()
        for name in outputs.known(self.mill.engine):
            mirror_output(self.mill.engine, mirror, name, whole=True)

    def _prune(self) -> None:
        now = self.mill.now()
        for name, row in outputs.known(self.mill.engine).items():
            spec, _ = outputs.find(self.mill.engine, name)
            cutoff = iso(now - timedelta(days=spec.history_days)) if spec.history_days else None
            oldest = outputs.oldest_kept(self.mill.engine, name, row.version, cutoff)
            if gone := outputs.prune(self.mill.engine, spec, oldest):
                log.info("%s: %d rows of past versions deleted", name, gone)
        self._sweep_shards()
        for job in retention.jobs(self.mill.engine):
            if self.stopped:
                return
            self._prune_job(job)

    def _sweep_shards(self) -> None:
        """Files of runs that did not come to the end at which they throw them away."""
        for folder in self.mill.shard_folder.glob("[0-9]*"):
            run = self.mill.ledger.run(int(folder.name)) if folder.name.isdecimal() else None
            if run is None or run.state in TERMINAL:
                shutil.rmtree(folder, ignore_errors=True)

    def _prune_job(self, job: str) -> None:
        spec = self.mill.registry.jobs.get(job) or JobSpec(job)
        before = micros(self.mill.now() - spec.keep_for)
        gone = 1
        while gone:
            gone, logs = retention.prune_runs(self.mill.engine, job, before, spec.keep_runs)
            for name in logs:
                self.mill.log_path(name).unlink(missing_ok=True)
        room = spec.keep_log_mb * 1_000_000
        for name in retention.logs(self.mill.engine, job):
            path = self.mill.log_path(name)
            # Of several hosts each has its own logs; what is not here is not counted here.
            room -= path.stat().st_size if path.exists() else 0
            if room < 0:
                path.unlink(missing_ok=True)
