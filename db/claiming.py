"""Claims: one transaction in which a process takes runs, or learns of each why it may not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from db import statements as sql
from db.endings import because, end_attempts, end_runs, verdict
from db.errors import Fenced, StoreError
from db.lease_clock import AHEAD_US, LEASE_S, SECOND, LeaseClock
from db.overlap import AT_ONCE, GENTLY, decide
from db.run import MAX_LOST, After, Claim, Ending, Terms, Verdict
from db.tables import Record, gates


@dataclass
class Claiming:
    """`take` answers for several runs at once; what it decided is committed with the caller's transaction."""

    connection: Connection
    clock: LeaseClock
    owner: str
    host: str
    now_us: int
    #: Claims of an earlier try of this transaction: if they stand, only the answer to COMMIT was lost.
    made: Mapping[int, Claim]
    lease_now: int = 0
    jobs: dict[str, Record] = field(default_factory=dict)
    runs: dict[int, Record] = field(default_factory=dict)
    survivors: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: Claims that are decided and not written yet: as many as can be go to the database at once.
    taken: list[dict[str, object]] = field(default_factory=list)

    def take(self, asked: Sequence[tuple[int, Terms]]) -> list[Claim | Verdict]:
        """An answer for each, in order; a claim counts for what is asked after it."""
        self._lock([run_id for run_id, _ in asked])
        answers: list[Claim | Verdict | None] = [self._answer(run_id, terms) for run_id, terms in asked]
        taken = self._begin([run_id for (run_id, _), answer in zip(asked, answers, strict=True) if answer is None])
        return [answer or taken[run_id] for (run_id, _), answer in zip(asked, answers, strict=True)]

    def _lock(self, run_ids: list[int]) -> None:
        self.jobs = {job.name: job for job in self.connection.execute(sql.LOCK_JOBS, {"asked": run_ids})}
        self.runs = {run.run_id: run for run in self.connection.execute(sql.LOCK_RUNS, {"asked": run_ids})}
        if missing := set(run_ids) - set(self.runs):
            raise StoreError(f"run {min(missing)} does not exist")
        self.lease_now = self.clock.now(self.connection)

    def _answer(self, run_id: int, terms: Terms) -> Claim | Verdict | None:
        """None when the run was taken."""
        run = self.runs[run_id]
        before = self.made.get(run_id)
        if before and (run.state, run.owner, run.fence) == ("running", self.owner, before.fence):
            return before
        refusal = self._refusal(run)
        if refusal is None and run.attempt == 0:
            refusal = self._held_back(run, terms)
        if refusal is None and run.state == "running":
            refusal = self._given_up(run, terms)
        if refusal is None and not self._has_place(run, terms):
            refusal = "waits"
        if refusal is None:
            self._take(run, terms)
        return refusal

    def _refusal(self, run: Record) -> Verdict | None:
        if run.state in sql.TERMINAL:
            return "done"
        expired = self.clock.expired(run.lease_us, run.boot_id, self.lease_now)
        if run.state == "running":
            return None if expired else "taken"
        if run.due_us > self.now_us and not self._by_a_clock_ahead(run):
            return "not_due"
        mine = run.reserved_for in (None, self.owner)
        return None if mine or expired else "taken"

    def _by_a_clock_ahead(self, run: Record) -> bool:
        return bool(max(run.created_us, run.started_us or 0) > self.now_us + AHEAD_US)

    # -- whether its first attempt may start

    def _held_back(self, run: Record, terms: Terms) -> Verdict | None:
        if run.shard_of is not None:
            return None
        job = self.jobs.get(run.job)
        if not run.forced:
            if job is not None and job.state == "paused":
                return self._skip(run, Ending("skipped", "paused"))
            if terms.after and run.slot_key.startswith("c:"):
                refusal = self._upstream(run, terms.after)
                if refusal:
                    return refusal
        if run.order_key is not None:
            return self._in_order(run)
        return None if run.forced or terms.overlap == "allow" else self._overlap(run, terms)

    def _skip(self, run: Record, ending: Ending) -> Verdict:
        end_runs(self.connection, [(run, ending)], self.now_us)
        return "skipped"

    def _upstream(self, run: Record, after: After) -> Verdict | None:
        """The other jobs' latest slots up to the run's own decide."""
        rows = {name: self._latest_slot(name, run.slot_us) for name in after.jobs}
        waits = (
            after.roots
            and self.connection.execute(sql.UNENDED, {"roots": list(after.roots), "slot": run.slot_us}).scalar()
        )
        state = None if waits else verdict(after.needs, after.outcome, {name: row[1] for name, row in rows.items()})
        if state is None:
            return "waits"
        return None if state == "queued" else self._skip(run, Ending(state, because(rows, after.outcome)))

    def _latest_slot(self, upstream: str, slot_us: int) -> tuple[int | None, str | None]:
        """(run, how it ended); the state is None while it has not."""
        row = self.connection.execute(sql.LATEST_SLOT, {"upstream": upstream, "slot": slot_us}).first()
        if row is None:
            return None, "had no slot yet"
        state = row.state
        if row.coalesced_into:
            state = self.connection.execute(sql.STATE, {"run": row.coalesced_into}).scalar() or row.state
        return row.run_id, state if state in sql.TERMINAL else None

    def _in_order(self, run: Record) -> Verdict | None:
        """A key of one job is guarded by the job's row; one that several jobs share has a row of its own."""
        self._write_taken()
        if "/" not in run.order_key:
            self._enter(f"order/{run.order_key}")
        ahead = self.connection.execute(sql.AHEAD, {"run": run.run_id}).scalar()
        return None if ahead is None else "waits"

    def _overlap(self, run: Record, terms: Terms) -> Verdict | None:
        self._write_taken()
        of_job = {"job": run.job, "run": run.run_id}
        before = self.connection.execute(sql.IN_THE_WAY, of_job).first()
        if before is None:
            return None
        waiting = self.connection.execute(sql.WAITS_BEFORE, of_job).scalar()
        step, reason = decide(terms.overlap, before.run_id, waiting)
        if step == "skip":
            return self._skip(run, Ending("skipped", reason))
        if step not in ("cancel", "terminate"):
            return None if step == "start" else "waits"
        return self._displace(run, terms, before, GENTLY if step == "cancel" else AT_ONCE)

    def _displace(self, run: Record, terms: Terms, before: Record, how: int) -> Verdict | None:
        """Asks the owner of the earlier run to end it; one that waits for its next attempt has no process to ask."""
        if before.state != "retry_wait":
            self.connection.execute(sql.ASK_CANCEL, {"run": before.run_id, "how": how})
            return "waits"
        other = self.connection.execute(sql.LOCK_RUN, {"run": before.run_id}).one()
        if other.state == "retry_wait":
            end_runs(self.connection, [(other, Ending("cancelled", f"cancelled by run {run.run_id}"))], self.now_us)
            self._look_again(before.run_id)
        return self._overlap(run, terms)

    def _look_again(self, run_id: int) -> None:
        if run_id in self.runs:
            self.runs[run_id] = self.connection.execute(sql.LOCK_RUN, {"run": run_id}).one()

    # -- places

    def _has_place(self, run: Record, terms: Terms) -> bool:
        if terms.pool is None:
            return True
        self._write_taken()
        self._enter(f"pool/{terms.pool}")
        taken = self.connection.execute(sql.IN_POOL, {"of_pool": terms.pool, "run": run.run_id}).scalar_one()
        return bool(taken < terms.places)

    def _enter(self, gate: str) -> None:
        """Holds the gate's row until the transaction ends; it is made when somebody first comes by."""
        if self.connection.execute(sql.LOCK_GATE, {"gate": gate}).first() is None:
            self.connection.execute(sql.insert_ignore(self.connection, gates), {"name": gate})
            self.connection.execute(sql.LOCK_GATE, {"gate": gate})

    # -- the claim

    def _given_up(self, run: Record, terms: Terms) -> Verdict | None:
        """A run whose owner stopped renewing goes on, unless that is forbidden or happened too often."""
        if terms.on_lost == "fail":
            why = "its worker died; on_lost = fail forbids to run it again"
        elif run.lost + 1 >= MAX_LOST:
            why = f"{run.lost + 1} workers died running it"
        else:
            return None
        self._end_lost(run)
        end_runs(self.connection, [(run, Ending("lost", why))], self.now_us)
        return "lost"

    def _end_lost(self, run: Record) -> None:
        lost = (run.run_id, run.fence, Ending("lost", "its worker stopped renewing"))
        end_attempts(self.connection, [lost], self.now_us)

    def _take(self, run: Record, terms: Terms) -> None:
        if run.state == "running":
            self._end_lost(run)
        if run.lost or run.state == "running":
            self._note_survivor(run)
        self.taken.append(
            {
                "run": run.run_id,
                "seen": run.fence,
                "lost_now": run.lost + (run.state == "running"),
                "of_pool": terms.pool,
                "me": self.owner,
                "at_host": self.host,
                "until": self.lease_now + LEASE_S * SECOND,
                "boot": self.clock.boot_id,
                "now": self.now_us,
            }
        )

    def _write_taken(self) -> None:
        """Before anything is read that what was taken so far would change."""
        if self.taken:
            self.connection.execute(sql.CLAIM, self.taken)
            self.taken = []

    def _note_survivor(self, run: Record) -> None:
        last = self.connection.execute(sql.ATTEMPT, {"run": run.run_id, "seen": run.fence}).first()
        if last is not None and (last.state, last.host) == ("lost", self.host) and last.pid:
            self.survivors[run.run_id] = (last.pid, last.pid_start)

    def _begin(self, run_ids: list[int]) -> dict[int, Claim]:
        """Reads back what was taken, and writes an attempt for each."""
        self._write_taken()
        if not run_ids:
            return {}
        rows = self.connection.execute(sql.LOCK_RUNS, {"asked": run_ids}).all()
        for row in rows:
            if row.owner != self.owner or row.fence != self.runs[row.run_id].fence + 1:
                raise Fenced(f"run {row.run_id} was claimed by another process")
        self.connection.execute(sql.START_ATTEMPT, [self._attempt(row) for row in rows])
        return {row.run_id: Claim.of(row, self.survivors.get(row.run_id)) for row in rows}

    def _attempt(self, run: Record) -> dict[str, object]:
        return {
            "run_id": run.run_id,
            "attempt": run.attempt,
            "fence": run.fence,
            "owner": self.owner,
            "host": self.host,
            "started_us": self.now_us,
            "state": "running",
            "log": f"{run.run_id}.{run.attempt}.log",
        }
