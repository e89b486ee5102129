"""The ledger: which slots there are, who may run them, what became of them.

Every door (daemon, cron line, person) claims and finishes here, by the same statements. Whoever holds a run holds it
under a fence, a number that grows with every claim; nothing is committed under an old one. The decision is always
read back from the row, locked, because row counts of some databases say how many rows matched, not how many changed.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from db import engine as transactions
from db import statements as sql
from db.claiming import Claiming
from db.endings import end_attempts, end_runs
from db.errors import DatabaseUnavailable, Fenced, StoreError
from db.failpoint import reach
from db.lease_clock import AHEAD_US, LEASE_S, SECOND, LeaseClock
from db.overlap import BY_PERSON
from db.pause import pause
from db.run import Claim, Ending, Follow, Move, NewRun, Terms, Verdict
from db.tables import Record, attempts, followers, jobs, leases, runs

#: Whoever waits for a database that is away asks again so often.
AGAIN_S = 0.5


class Ledger:
    """The ledger in one database, as one process (`owner`, a fresh UUID) on one `host` uses it."""

    def __init__(self, engine: Engine, owner: str, host: str) -> None:
        self.engine = engine
        self.owner = owner
        self.host = host
        self.clock = LeaseClock(engine)

    # -- jobs ---------------------------------------------------------------------------------------------------

    def job(self, name: str) -> Record | None:
        with transactions.read(self.engine) as connection:
            return connection.execute(select(jobs).where(jobs.c.name == name)).first()

    def jobs(self) -> Sequence[Record]:
        with transactions.read(self.engine) as connection:
            return connection.execute(select(jobs).order_by(jobs.c.name)).all()

    def cursors(self, after: str = "", limit: int | None = None) -> Sequence[Record]:
        """(name, spec_hash, state, cursor_us) of jobs in the order of their names, from the one behind `after` on."""
        with transactions.read(self.engine) as connection:
            return connection.execute(sql.CURSORS.where(jobs.c.name > after).limit(limit)).all()

    def introduce(self, specifications: Sequence[tuple[str, str, str]], now_us: int) -> None:
        """Makes jobs known that nobody knew, all in one transaction: (name, specification, hash). Others stay as they
        are. Their slots count from now."""
        fresh = {"state": "enabled", "cursor_us": now_us, "created_us": now_us, "activated_us": now_us}
        rows = [{"name": name, "spec_json": text, "spec_hash": hash_, **fresh} for name, text, hash_ in specifications]

        def work(connection: Connection) -> None:
            connection.execute(sql.insert_ignore(connection, jobs), rows)

        if rows:
            transactions.in_write(self.engine, work)

    def activate(
        self, name: str, spec_json: str, spec_hash: str, *, cursor_us: int, now_us: int, follow: Follow | None = None
    ) -> None:
        """From now on the job has this specification. A new or changed job's slots count from `cursor_us`.

        `follow`: the ends of other jobs trigger it.
        """

        def work(connection: Connection) -> None:
            row = {
                "name": name,
                "spec_json": spec_json,
                "spec_hash": spec_hash,
                "state": "enabled",
                "cursor_us": cursor_us,
                "created_us": now_us,
                "activated_us": now_us,
            }
            connection.execute(sql.insert_ignore(connection, jobs), row)
            held = connection.execute(sql.LOCK_JOB, {"job": name}).one()
            changed: dict[str, Any] = {"spec_json": spec_json, "spec_hash": spec_hash, "activated_us": now_us}
            mended = {"state": "enabled", "reason": None} if held.state == "broken" else {}
            if held.spec_hash != spec_hash:
                # What came before was accounted for under the old schedule; the new one was not in force then.
                changed["cursor_us"] = max(held.cursor_us, cursor_us)
            if held.spec_hash != spec_hash or mended:
                connection.execute(update(jobs).where(jobs.c.name == name).values(**changed, **mended))
            self._follow(connection, name, follow)

        transactions.in_write(self.engine, work)

    @staticmethod
    def _follow(connection: Connection, name: str, follow: Follow | None) -> None:
        """Ends that were noted count on when the job follows the same others as before."""
        wanted = follow.rows(name) if follow else []
        held = [
            {key: getattr(edge, key) for key in Follow.KEYS}
            for edge in connection.execute(sql.EDGES, {"follower": name})
        ]
        if held != wanted:
            connection.execute(followers.delete().where(followers.c.job == name))
            if wanted:
                connection.execute(insert(followers), wanted)

    def set_job_state(self, name: str, state: str, reason: str | None = None) -> None:
        """enabled, paused or broken; the row, its cursor and its runs stay. What is paused stays so while broken."""
        change = update(jobs).where(jobs.c.name == name).values(state=state, reason=reason)
        if state == "broken":
            change = change.where(jobs.c.state != "paused")
        with transactions.write(self.engine) as connection:
            connection.execute(change)

    # -- recording ----------------------------------------------------------------------------------------------

    def recorded_ahead(self, name: str, after_us: int, upto_us: int) -> set[int]:
        """Slots in (after, upto] that have a row though the cursor has not passed them."""
        with transactions.read(self.engine) as connection:
            return self._recorded_ahead(connection, name, after_us, upto_us)

    @staticmethod
    def _recorded_ahead(connection: Connection, name: str, after_us: int, upto_us: int) -> set[int]:
        values = {"job": name, "after": after_us, "upto": upto_us}
        return set(connection.execute(sql.RECORDED_AHEAD, values).scalars())

    def advance(
        self,
        name: str,
        spec_hash: str,
        old_us: int,
        new_us: int,
        rows: Iterable[NewRun],
        now_us: int,
        recorded: Collection[int] = (),
    ) -> bool:
        """Moves the cursor and records the slots it passes, in one transaction; `recorded` have their rows already.

        False, and nothing written, when another process moved it or recorded a slot first, or the job has another
        specification.
        """

        def work(connection: Connection) -> bool:
            held = connection.execute(sql.LOCK_JOB, {"job": name}).first()
            if held is None or held.cursor_us != old_us or held.spec_hash != spec_hash:
                return False
            if self._recorded_ahead(connection, name, old_us, new_us) != {us for us in recorded if us <= new_us}:
                return False
            self._record(connection, name, rows, now_us)
            connection.execute(sql.MOVE_CURSOR, {"job": name, "old": old_us, "new": new_us})
            reach("materialised")
            return True

        reach("before-materialise")
        moved = transactions.in_write(self.engine, work)
        reach("after-materialise")
        return moved

    def advance_all(self, names: Sequence[str], move: Callable[[Record], Move | None], now_us: int) -> set[str]:
        """Moves the cursors of several jobs over one slot each, in one transaction; the names of those that moved.

        `move`: what becomes of a job, given its (name, spec_hash, state, cursor_us); None: nothing, here. A slot that
        has its row already keeps it, and only the cursor moves.
        """

        def work(connection: Connection) -> set[str]:
            held = connection.execute(sql.LOCK_CURSORS, {"names": names}).all()
            moves = [(row, step) for row in held if (step := move(row))]
            if moves:
                rows = [self._values(connection, row.name, step.row, None, now_us) for row, step in moves]
                connection.execute(sql.insert_ignore(connection, runs), rows)
                cursors = [{"job": row.name, "old": row.cursor_us, "new": step.cursor_us} for row, step in moves]
                connection.execute(sql.MOVE_CURSOR, cursors)
            reach("materialised")
            return {row.name for row, _ in moves}

        reach("before-materialise")
        moved = transactions.in_write(self.engine, work)
        reach("after-materialise")
        return moved

    def record(self, name: str, row: NewRun, now_us: int) -> Record:
        """The run with this key: the one that is there, or this one."""

        def work(connection: Connection) -> Record:
            connection.execute(sql.LOCK_JOB, {"job": name})
            self._record(connection, name, [row], now_us)
            return connection.execute(sql.RUN_OF_KEY, {"job": name, "key": row.slot_key}).one()

        return transactions.in_write(self.engine, work)

    def ask(self, name: str, spec_hash: str, row: NewRun, now_us: int) -> int | None:
        """The number of a run that nobody else can ask for, its key being new; None, and nothing recorded, where the
        ledger does not know the job, or not with this specification.
        """

        key = {"job": name, "key": row.slot_key}

        def work(connection: Connection) -> int | None:
            values = {**self._values(connection, name, row, None, now_us), "known_so": spec_hash}
            if connection.dialect.insert_returning:
                return connection.execute(sql.RECORD_KNOWN_ID, values).scalar()
            connection.execute(sql.RECORD_KNOWN, values)
            return getattr(connection.execute(sql.RUN_OF_KEY, key).first(), "run_id", None)

        try:
            return transactions.in_write(self.engine, work, alone=True)
        except IntegrityError:
            # It is there: an earlier try stands, and only the answer was lost.
            return getattr(self.run_of_key(name, row.slot_key), "run_id", None)

    def _record(self, connection: Connection, name: str, rows: Iterable[NewRun], now_us: int) -> None:
        insert = sql.insert_ignore(connection, runs)
        for row in rows:
            into = None
            if row.coalesced_into:
                into = connection.execute(sql.RUN_OF_KEY, {"job": name, "key": row.coalesced_into}).one().run_id
            connection.execute(insert, self._values(connection, name, row, into, now_us))

    def _values(self, connection: Connection, name: str, row: NewRun, into: int | None, now_us: int) -> dict[str, Any]:
        reserved = {}
        if row.reserved_for:
            until = self.clock.now(connection) + LEASE_S * SECOND
            reserved = {"reserved_for": row.reserved_for, "lease_us": until, "boot_id": self.clock.boot_id}
        return {
            "job": name,
            "slot_key": row.slot_key,
            "slot_us": row.slot_us,
            "slot_last_us": row.slot_last_us if row.slot_last_us is not None else row.slot_us,
            "slot_count": row.slot_count,
            "trigger": row.trigger,
            "state": row.state,
            "reason": row.reason or (f"coalesced into run {into}" if into else None),
            "priority": row.priority,
            "params_json": json.dumps(dict(row.params)),
            "order_key": row.order_key,
            "forced": int(row.forced),
            "due_us": row.due_us,
            "created_us": now_us,
            "retry_of": row.retry_of,
            "coalesced_into": into,
            "ended_us": now_us if row.state in sql.TERMINAL else None,
            **({"reserved_for": None, "lease_us": None, "boot_id": None} | reserved),
        }

    # -- claiming -----------------------------------------------------------------------------------------------

    def claimable(
        self, now_us: int, limit: int, without: Collection[str] = (), resting: Collection[str] = ()
    ) -> Sequence[Record]:
        """Runs that are due or orphaned, most urgent first: (run_id, job, begun).

        `without`: none of these jobs. `resting`: of these only what has begun before.
        """
        with transactions.look(self.engine) as connection:
            return connection.execute(
                sql.CLAIMABLE,
                {
                    "without": list(without),
                    "resting": list(resting),
                    "now": now_us,
                    "ahead": now_us + AHEAD_US,
                    "lost_before": self.clock.now(connection),
                    "boot": self.clock.boot_id,
                    "limit": limit,
                },
            ).all()

    def carried(self, jobs: Collection[str], now_us: int, each: int, in_turn: Collection[str] = ()) -> Sequence[Record]:
        """Runs of these jobs that are due or orphaned, of each job its first few: (run_id, job, fence).

        in_turn: jobs whose runs wait for each other; of these only the one whose turn it is.
        """
        with transactions.look(self.engine) as connection:
            return connection.execute(
                sql.CARRIED,
                {
                    "of": list(jobs),
                    "in_turn": list(in_turn),
                    "now": now_us,
                    "ahead": now_us + AHEAD_US,
                    "lost_before": self.clock.now(connection),
                    "boot": self.clock.boot_id,
                    "each": each,
                },
            ).all()

    def claim(self, run_id: int, terms: Terms, now_us: int) -> Claim | Verdict:
        """Takes the run for this process, or says why not.

        taken: another process runs it. done: it has ended. skipped: it ended just now, overlap, a pause or a run that
        it should have come after forbids it. waits: for another run or a place. not_due: its time has not come.
        lost: its last owner died once too often.
        """
        return self.claim_all([(run_id, terms)], now_us)[0]

    def claim_all(self, asked: Sequence[tuple[int, Terms]], now_us: int) -> list[Claim | Verdict]:
        """The same for several runs in one transaction; an earlier one counts for those after it."""
        made: dict[int, Claim] = {}

        def work(connection: Connection) -> list[Claim | Verdict]:
            answers = Claiming(connection, self.clock, self.owner, self.host, now_us, dict(made)).take(asked)
            made.update({answer.run_id: answer for answer in answers if isinstance(answer, Claim)})
            reach("claimed")
            return answers

        reach("before-claim")
        answers = transactions.in_write(self.engine, work)
        reach("after-claim")
        return answers

    # -- holding ------------------------------------------------------------------------------------------------

    def renew(self, held: Sequence[int]) -> dict[int, Record]:
        """Prolongs the leases of these runs; what stands in the ledger about each, for the holder to obey."""

        def work(connection: Connection) -> dict[int, Record]:
            until = self.clock.now(connection) + LEASE_S * SECOND
            values = {"held": list(held), "me": self.owner, "until": until, "boot": self.clock.boot_id}
            connection.execute(sql.RENEW, values)
            return {row.run_id: row for row in connection.execute(sql.HELD, {"held": list(held)})}

        return transactions.in_write(self.engine, work)

    def held(self, held: Sequence[int]) -> dict[int, Record]:
        """The same, without prolonging anything: cheap enough to ask every second."""
        with transactions.look(self.engine) as connection:
            return {row.run_id: row for row in connection.execute(sql.HELD, {"held": list(held)})}

    def place(self, claim: Claim, pid: int, pid_start: int) -> None:
        """Notes which process works on the attempt."""
        with transactions.write(self.engine) as connection:
            values = {"run": claim.run_id, "seen": claim.fence, "at_pid": pid, "at_pid_start": pid_start}
            connection.execute(sql.PLACE_ATTEMPT, values)

    def progress(self, claim: Claim, share: float, words: str) -> None:
        with transactions.write(self.engine) as connection:
            values = {"run": claim.run_id, "seen": claim.fence, "share": share, "words": words}
            connection.execute(sql.PROGRESS, values)

    # -- finishing ----------------------------------------------------------------------------------------------

    def finish(
        self,
        claim: Claim,
        ending: Ending,
        now_us: int,
        effects: Callable[[Connection], object] | None = None,
        patience_s: float = 0.0,
    ) -> None:
        """Ends the attempt: its effects and its state in one transaction, under the fence.

        Raises Fenced, and commits nothing, when the run was claimed again or has ended. When the answer to COMMIT is
        lost, the row is looked up: it says whether the transaction stands, else the same transaction is tried again,
        for `patience_s` while the database is away.
        """

        def work(connection: Connection) -> None:
            run = own(connection, claim)
            if effects:
                effects(connection)
            end_attempts(connection, [(claim.run_id, claim.fence, ending)], now_us)
            end_runs(connection, [(run, ending)], now_us)
            reach("before-commit")

        until = time.monotonic() + patience_s
        while True:
            try:
                self._commit(claim, ending, work)
                reach("after-commit")
                return
            except DatabaseUnavailable:
                if time.monotonic() >= until:
                    raise
                pause(AGAIN_S)

    def _commit(self, claim: Claim, ending: Ending, work: Callable[[Connection], None]) -> None:
        try:
            transactions.in_write(self.engine, work)
        except Fenced:
            # An earlier try may have been committed, and only its answer lost.
            if not self._stands(claim, ending):
                raise

    def _stands(self, claim: Claim, ending: Ending) -> bool:
        with transactions.read(self.engine) as connection:
            where = (attempts.c.run_id == claim.run_id, attempts.c.fence == claim.fence)
            recorded = connection.execute(select(attempts.c.state, attempts.c.reason).where(*where)).one()
            # The reason too: whoever takes an orphan over records its attempt as lost, as its owner may have wanted to.
            return (recorded.state, recorded.reason) == (ending.attempt or ending.state, ending.reason)

    def finish_all(self, ended: Sequence[tuple[Claim, Ending]], now_us: int) -> list[Record | None]:
        """Ends several attempts without effects in one transaction. For each None, or, where its fence is an old one
        or its run has ended, the run as it stands: whose own process committed before, or who else has claimed it.
        """

        def work(connection: Connection) -> list[Record | None]:
            asked = [claim.run_id for claim, _ in ended]
            rows = {row.run_id: row for row in connection.execute(sql.LOCK_RUNS, {"asked": asked})}
            mine = [(claim, ending) for claim, ending in ended if holds(claim, rows[claim.run_id])]
            end_attempts(connection, [(claim.run_id, claim.fence, ending) for claim, ending in mine], now_us)
            end_runs(connection, [(rows[claim.run_id], ending) for claim, ending in mine], now_us)
            reach("before-commit")
            return [None if holds(claim, rows[claim.run_id]) else rows[claim.run_id] for claim, _ in ended]

        answers = transactions.in_write(self.engine, work)
        reach("after-commit")
        return answers

    def annotate(self, claim: Claim, report: Mapping[str, Any]) -> None:
        """Completes the report of a run that this attempt ended."""
        with transactions.write(self.engine) as connection:
            where = (runs.c.run_id == claim.run_id, runs.c.fence == claim.fence)
            connection.execute(update(runs).where(*where).values(report_json=json.dumps(dict(report))))

    # -- asking for things --------------------------------------------------------------------------------------

    def cancel(self, run_id: int, now_us: int) -> str:
        """Ends a waiting run at once; asks the owner of a running one to. Returns the state it had."""

        def work(connection: Connection) -> str:
            run = connection.execute(sql.LOCK_RUN, {"run": run_id}).first()
            if run is None:
                raise StoreError(f"run {run_id} does not exist; see: clockmill runs list")
            if run.state in sql.WAITING:
                end_runs(connection, [(run, Ending("cancelled", "cancelled by a person"))], now_us)
            elif run.state == "running":
                connection.execute(sql.ASK_CANCEL, {"run": run_id, "how": BY_PERSON})
            return str(run.state)

        return transactions.in_write(self.engine, work)

    def lease(self, name: str, seconds: float) -> bool:
        """Takes or keeps a named lease; False while another process has it."""

        def work(connection: Connection) -> bool:
            # The row is there before it is looked at: two processes cannot both find none.
            free = {"name": name, "holder": self.owner, "lease_us": 0}
            connection.execute(sql.insert_ignore(connection, leases), free)
            row = connection.execute(sql.LOCK_LEASE, {"lease": name}).one()
            now = self.clock.now(connection)
            if row.holder != self.owner and not self.clock.expired(row.lease_us, row.boot_id, now):
                return False
            mine = {"holder": self.owner, "lease_us": now + int(seconds * SECOND), "boot_id": self.clock.boot_id}
            connection.execute(update(leases).where(leases.c.name == name).values(**mine))
            return True

        return transactions.in_write(self.engine, work)

    def release(self, name: str) -> None:
        """Gives a named lease back."""
        with transactions.write(self.engine) as connection:
            connection.execute(leases.delete().where(leases.c.name == name, leases.c.holder == self.owner))

    def holders(self, prefix: str) -> list[str]:
        """The processes that hold a lease whose name begins so, now."""
        with transactions.read(self.engine) as connection:
            now = self.clock.now(connection)
            rows = connection.execute(select(leases).where(leases.c.name.startswith(prefix)))
            return [row.holder for row in rows if not self.clock.expired(row.lease_us, row.boot_id, now)]

    # -- reading ------------------------------------------------------------------------------------------------

    def run(self, run_id: int) -> Record | None:
        with transactions.read(self.engine) as connection:
            return connection.execute(select(runs).where(runs.c.run_id == run_id)).first()

    def run_of_key(self, name: str, key: str) -> Record | None:
        with transactions.read(self.engine) as connection:
            return connection.execute(sql.RUN_OF_KEY, {"job": name, "key": key}).first()

    def run_covering(self, name: str, slot_us: int) -> Record | None:
        """The row that stands for this slot among several, if there is one."""
        with transactions.read(self.engine) as connection:
            return connection.execute(sql.RUN_COVERING, {"job": name, "slot": slot_us}).first()

    def reruns(self, run: Record) -> Sequence[Record]:
        """The runs that do this one again, in the order in which they were asked for."""
        with transactions.read(self.engine) as connection:
            keys = {"first": f"r:{run.run_id}:", "last": f"r:{run.run_id}:~"}
            return connection.execute(sql.RERUNS, {"job": run.job, "run": run.run_id, **keys}).all()

    def runs(self, job: str | None = None, state: str | None = None, limit: int = 20) -> Sequence[Record]:
        """The latest runs first; shards are shown with the run that they belong to."""
        query = select(runs).where(runs.c.shard_of.is_(None)).order_by(runs.c.run_id.desc()).limit(limit)
        if job:
            query = query.where(runs.c.job == job)
        if state:
            query = query.where(runs.c.state == state)
        with transactions.read(self.engine) as connection:
            return connection.execute(query).all()

    def shards(self, run_id: int) -> Sequence[Record]:
        """The runs that are shards of this one."""
        with transactions.read(self.engine) as connection:
            return connection.execute(select(runs).where(runs.c.shard_of == run_id).order_by(runs.c.run_id)).all()

    def attempts(self, run_id: int) -> Sequence[Record]:
        with transactions.read(self.engine) as connection:
            where = attempts.c.run_id == run_id
            return connection.execute(select(attempts).where(where).order_by(attempts.c.attempt)).all()


def holds(claim: Claim, run: Record) -> bool:
    """Whether the run's row, as it was locked, still is this claim's."""
    return bool((run.fence, run.state, run.owner) == (claim.fence, "running", claim.owner))


def own(connection: Connection, claim: Claim) -> Record:
    """The run's row, locked. Raises Fenced where it is not this claim's any more."""
    run = connection.execute(sql.LOCK_RUN, {"run": claim.run_id}).one()
    if not holds(claim, run):
        raise Fenced(
            f"run {claim.run_id}, attempt {claim.attempt}: nothing of it is committed; "
            f"the run is {run.state} under fence {run.fence}, this attempt holds fence {claim.fence}"
        )
    return run
