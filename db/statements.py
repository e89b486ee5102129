"""Every statement of the ledger, named, with the reason it exists. `db.ledger` puts them in order."""

from sqlalchemy import BigInteger, Connection, Float, and_, bindparam, case, exists, func, insert, or_, select, update
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.schema import Table

from db.tables import Long, attempts, followers, gates, jobs, leases, runs

#: States in which a run waits for a worker.
WAITING = ("scheduled", "queued", "retry_wait")
#: States in which a run of a job is in the way of the next one.
ACTIVE = ("running", "retry_wait")
TERMINAL = (
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "lost",
    "skipped",
    "missed",
    "coalesced",
    "upstream_failed",
)


def insert_ignore(connection: Connection, table: Table) -> Insert:
    """An INSERT that leaves an existing row with the same key as it is."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects.mysql import insert as mysql_insert

    # INSERT IGNORE would also hide a value that is cut; strict mode is lifted by it. A no-op update is not.
    key = next(iter(table.primary_key.columns))
    return mysql_insert(table).on_duplicate_key_update({key.name: key})


#: Locks the job's row first in every transaction that decides about its runs: one order, no deadlock.
LOCK_JOB = select(jobs).where(jobs.c.name == bindparam("job")).with_for_update()

#: What a run has from its record on; all else comes with its claim.
_RECORDED = (
    *("job", "slot_key", "slot_us", "slot_last_us", "slot_count", "trigger", "state", "reason", "priority"),
    *("params_json", "order_key", "forced", "due_us", "created_us", "retry_of", "coalesced_into", "ended_us"),
    *("reserved_for", "lease_us", "boot_id"),
)

#: Records a run where the ledger knows the job as whoever asks for the run does: one statement, one answer.
RECORD_KNOWN = insert(runs).from_select(
    _RECORDED,
    select(*(bindparam(name, type_=runs.c[name].type) for name in _RECORDED)).where(
        exists().where(
            jobs.c.name == bindparam("job"), jobs.c.spec_hash == bindparam("known_so"), jobs.c.state != "broken"
        )
    ),
)
RECORD_KNOWN_ID = RECORD_KNOWN.returning(runs.c.run_id)

#: The same for the jobs of several runs, in one order for everybody.
LOCK_JOBS = (
    select(jobs)
    .where(jobs.c.name.in_(select(runs.c.job).where(runs.c.run_id.in_(bindparam("asked", expanding=True)))))
    .order_by(jobs.c.name)
    .with_for_update()
)

#: A run, and whether another job is triggered by its end.
RUN = select(runs, exists().where(followers.c.upstream == runs.c.job).label("followed"))

#: Locks the run that is to be claimed, finished or changed.
LOCK_RUN = RUN.where(runs.c.run_id == bindparam("run")).with_for_update(of=runs)
LOCK_RUNS = (
    RUN.where(runs.c.run_id.in_(bindparam("asked", expanding=True))).order_by(runs.c.run_id).with_for_update(of=runs)
)

#: What a scheduler compares with its own jobs; specifications are long, and there may be very many.
CURSORS = select(jobs.c.name, jobs.c.spec_hash, jobs.c.state, jobs.c.cursor_us).order_by(jobs.c.name)
LOCK_CURSORS = CURSORS.where(jobs.c.name.in_(bindparam("names", expanding=True))).with_for_update()

#: The run of a slot, whoever made it.
RUN_OF_KEY = select(runs).where(runs.c.job == bindparam("job"), runs.c.slot_key == bindparam("key"))

#: The row that accounts for a slot: its own, or one that stands for several consecutive slots.
RUN_COVERING = select(runs).where(
    runs.c.job == bindparam("job"),
    runs.c.slot_us <= bindparam("slot"),
    runs.c.slot_last_us >= bindparam("slot"),
    runs.c.slot_count > 1,
)

#: Slots that got a row before the cursor came by: somebody asked for them by their time.
RECORDED_AHEAD = select(runs.c.slot_us).where(
    runs.c.job == bindparam("job"),
    runs.c.slot_us > bindparam("after"),
    runs.c.slot_us <= bindparam("upto"),
    runs.c.slot_key.startswith("c:"),
)

#: The runs that a person asked for to do this one again; their keys begin with its number.
RERUNS = (
    select(runs)
    .where(
        runs.c.job == bindparam("job"),
        runs.c.slot_key.between(bindparam("first"), bindparam("last")),
        runs.c.retry_of == bindparam("run"),
    )
    .order_by(runs.c.run_id)
)

#: Whoever held this lease has lost it: by the lease clock, or with the boot it counted in.
LEASE_OVER = or_(runs.c.lease_us < bindparam("lost_before"), runs.c.boot_id != bindparam("boot"))

#: An earlier run with the same order key that has not ended, or a later one that has begun.
_other = runs.alias("other")
_AHEAD = and_(
    _other.c.order_key == runs.c.order_key,
    _other.c.run_id != runs.c.run_id,
    or_(_other.c.state.in_(ACTIVE), and_(_other.c.state.in_(WAITING), _other.c.run_id < runs.c.run_id)),
)
AHEAD = select(func.min(_other.c.run_id)).where(_AHEAD, runs.c.run_id == bindparam("run"))

#: Runs that take a place in the pool, but for the one that asks.
IN_POOL = select(func.count()).where(
    runs.c.state == "running", runs.c.pool == bindparam("of_pool"), runs.c.run_id != bindparam("run")
)

#: Pools and orders that several jobs share: held until the transaction ends.
LOCK_GATE = select(gates).where(gates.c.name == bindparam("gate")).with_for_update()

#: The row that accounts for a job's latest slot up to an instant.
LATEST_SLOT = (
    select(runs.c.run_id, runs.c.state, runs.c.coalesced_into)
    .where(runs.c.job == bindparam("upstream"), runs.c.slot_us <= bindparam("slot"))
    .order_by(runs.c.slot_us.desc(), runs.c.run_id.desc())
    .limit(1)
)
STATE = select(runs.c.state).where(runs.c.run_id == bindparam("run"))

#: Runs of these jobs, up to a slot, that have not ended: what they trigger is still to come.
UNENDED = select(func.min(runs.c.run_id)).where(
    runs.c.job.in_(bindparam("roots", expanding=True)),
    runs.c.state.in_((*WAITING, "running")),
    runs.c.slot_us <= bindparam("slot"),
)

#: Its time has come; or it was given by a clock that was ahead, and would come only when that time does.
IS_DUE = or_(
    runs.c.due_us <= bindparam("now"), runs.c.created_us > bindparam("ahead"), runs.c.started_us > bindparam("ahead")
)

#: What may be claimed: due, or abandoned by an owner whose lease is over.
_FREE = or_(
    and_(
        runs.c.state.in_(WAITING),
        IS_DUE,
        or_(runs.c.reserved_for.is_(None), LEASE_OVER),
        or_(runs.c.order_key.is_(None), runs.c.attempt > 0, ~exists().where(_AHEAD)),
    ),
    and_(runs.c.state == "running", LEASE_OVER),
)

#: No run of its job can be in its way: it, or the run that it is a shard of, has begun.
_BEGUN = or_(runs.c.attempt > 0, runs.c.shard_of.is_not(None))

#: What a worker looks for.
CLAIMABLE = (
    select(runs.c.run_id, runs.c.job, _BEGUN.label("begun"))
    .where(
        runs.c.job.not_in(bindparam("without", expanding=True)),
        or_(_BEGUN, runs.c.job.not_in(bindparam("resting", expanding=True))),
        _FREE,
    )
    # What began before is late already, and others of its job may wait for it: of its priority it is the first.
    .order_by(
        runs.c.priority.desc(),
        case((_BEGUN, 0), else_=1),
        runs.c.due_us,
        runs.c.run_id,
    )
    .limit(bindparam("limit"))
)

#: Runs of jobs that run one at a time and leave none out: the next one's turn comes when nothing is in its way.
_sibling = runs.alias("sibling")
_IN_TURN = and_(
    runs.c.job.in_(bindparam("in_turn", expanding=True)),
    runs.c.attempt == 0,
    runs.c.forced == 0,
    runs.c.order_key.is_(None),
)
_HAS_TURN = ~exists().where(_sibling.c.job == runs.c.job, _sibling.c.state.in_(ACTIVE))

#: What a worker looks for, of these jobs, of each its first few: one that waits for others must not hide the rest.
_free = (
    select(
        runs.c.run_id,
        runs.c.job,
        runs.c.fence,
        case((_IN_TURN, 1), else_=0).label("in_turn"),
        func.row_number().over(partition_by=runs.c.job, order_by=(runs.c.priority.desc(), runs.c.run_id)).label("n"),
    )
    .where(runs.c.job.in_(bindparam("of", expanding=True)), _FREE, or_(~_IN_TURN, _HAS_TURN))
    .subquery()
)
CARRIED = (
    select(_free.c.run_id, _free.c.job, _free.c.fence)
    .where(_free.c.n <= bindparam("each"), or_(_free.c.n == 1, _free.c.in_turn == 0))
    .order_by(_free.c.n, _free.c.run_id)
)

#: Runs of the job that a new one would overlap with.
IN_THE_WAY = select(runs.c.run_id, runs.c.state).where(
    runs.c.job == bindparam("job"),
    runs.c.state.in_(ACTIVE),
    runs.c.run_id != bindparam("run"),
    runs.c.shard_of.is_(None),
)

#: An earlier run of the job that already waits for its turn.
WAITS_BEFORE = select(func.min(runs.c.run_id)).where(
    runs.c.job == bindparam("job"),
    runs.c.state.in_(("scheduled", "queued")),
    runs.c.run_id < bindparam("run"),
    runs.c.shard_of.is_(None),
)

#: Gives the run to this owner under the next fence; `attempt` is counted before anything starts.
CLAIM = (
    update(runs)
    .where(runs.c.run_id == bindparam("run"), runs.c.fence == bindparam("seen"))
    .values(
        state="running",
        fence=runs.c.fence + 1,
        attempt=runs.c.attempt + 1,
        lost=bindparam("lost_now"),
        pool=bindparam("of_pool"),
        owner=bindparam("me"),
        host=bindparam("at_host"),
        lease_us=bindparam("until"),
        boot_id=bindparam("boot"),
        started_us=bindparam("now"),
        progress=None,
        note=None,
        reason=None,
    )
)

#: Keeps what this process runs, or holds for its next attempt, or has reserved for its first.
RENEW = (
    update(runs)
    .where(
        runs.c.run_id.in_(bindparam("held", expanding=True)),
        or_(
            and_(runs.c.owner == bindparam("me"), runs.c.state.in_(ACTIVE)),
            and_(runs.c.reserved_for == bindparam("me"), runs.c.state.in_(WAITING)),
        ),
    )
    .values(lease_us=bindparam("until"), boot_id=bindparam("boot"))
)

#: What became of the runs this process believes to hold.
HELD = select(runs.c.run_id, runs.c.fence, runs.c.owner, runs.c.state, runs.c.cancel_asked).where(
    runs.c.run_id.in_(bindparam("held", expanding=True))
)

#: Progress is told under the fence, so that a stale attempt cannot talk over the present one.
PROGRESS = (
    update(runs)
    .where(runs.c.run_id == bindparam("run"), runs.c.fence == bindparam("seen"), runs.c.state == "running")
    .values(progress=bindparam("share"), note=bindparam("words"))
)

#: Moves the cursor; the rows it accounts for are inserted in the same transaction.
MOVE_CURSOR = (
    update(jobs)
    .where(jobs.c.name == bindparam("job"), jobs.c.cursor_us == bindparam("old"), jobs.c.cursor_us < bindparam("new"))
    .values(cursor_us=bindparam("new"))
)

ASK_CANCEL = update(runs).where(runs.c.run_id == bindparam("run")).values(cancel_asked=bindparam("how"))

START_ATTEMPT = insert(attempts)
_OF_ATTEMPT = (attempts.c.run_id == bindparam("run"), attempts.c.fence == bindparam("seen"))
ATTEMPT = select(attempts).where(*_OF_ATTEMPT)
END_ATTEMPT = (
    update(attempts)
    .where(*_OF_ATTEMPT)
    .values(
        state=bindparam("became"),
        reason=bindparam("because"),
        exit_code=bindparam("code"),
        signal=bindparam("by_signal"),
        ended_us=bindparam("at"),
    )
)

#: Ends a run, or lets it wait for its next attempt; null: what stands there stays.
END_RUN = (
    update(runs)
    .where(runs.c.run_id == bindparam("run"))
    .values(
        state=bindparam("became"),
        reason=bindparam("because"),
        due_us=func.coalesce(bindparam("due", type_=BigInteger), runs.c.due_us),
        ended_us=bindparam("at"),
        exit_code=bindparam("code"),
        signal=bindparam("by_signal"),
        lost=runs.c.lost + bindparam("one_lost"),
        report_json=func.coalesce(bindparam("report", type_=Long), runs.c.report_json),
        progress=func.coalesce(bindparam("share", type_=Float), runs.c.progress),
    )
)

#: Divides a run's work into shards: while it waits for them it takes no place in its pool, they do.
DIVIDE = (
    update(runs)
    .where(runs.c.run_id == bindparam("run"), runs.c.fence == bindparam("seen"))
    .values(shards=bindparam("parts"), pool=None)
)

#: The shards of a run, the newest last, and whether one may be claimed.
SHARDS = select(runs, _FREE.label("free")).where(runs.c.shard_of == bindparam("run")).order_by(runs.c.run_id)

#: Ends what is left of a run's shards, but for some: nobody waits for them any more. Whoever runs one learns it from
#: its row.
_OPEN_SHARD = (
    runs.c.shard_of == bindparam("run"),
    runs.c.state.in_((*WAITING, "running")),
    runs.c.slot_key.not_like(bindparam("but")),
)
END_SHARDS = (
    update(runs).where(*_OPEN_SHARD).values(state="cancelled", reason=bindparam("because"), ended_us=bindparam("at"))
)
END_SHARDS_ATTEMPTS = (
    update(attempts)
    .where(attempts.c.run_id.in_(select(runs.c.run_id).where(*_OPEN_SHARD)), attempts.c.state == "running")
    .values(state="cancelled", reason=bindparam("because"), ended_us=bindparam("at"))
)

#: Jobs that the end of a run of this one may trigger, and what is known of the others they wait for.
FOLLOWERS = (
    select(followers.c.job, jobs.c.state)
    .join(jobs, jobs.c.name == followers.c.job)
    .where(followers.c.upstream == bindparam("upstream"))
    .order_by(followers.c.job)
)
EDGES = select(followers).where(followers.c.job == bindparam("follower")).order_by(followers.c.upstream)
LOCK_EDGES = EDGES.with_for_update()
NOTE_END = (
    update(followers)
    .where(followers.c.job == bindparam("follower"), followers.c.upstream == bindparam("of"))
    .values(ended_run=bindparam("last_run"), ended_state=bindparam("last_state"))
)
FORGET_ENDS = update(followers).where(followers.c.job == bindparam("follower")).values(ended_run=None, ended_state=None)

#: Where the process of an attempt is, so that a survivor can be found and killed.
PLACE_ATTEMPT = (
    update(attempts).where(*_OF_ATTEMPT).values(pid=bindparam("at_pid"), pid_start=bindparam("at_pid_start"))
)

LOCK_LEASE = select(leases).where(leases.c.name == bindparam("lease")).with_for_update()
