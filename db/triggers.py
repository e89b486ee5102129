"""Runs that events ask for: one for each event, or one that those share which come before it begins."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from db import engine as transactions
from db import statements as sql
from db.errors import StoreError
from db.tables import run_events, runs

#: A run that waits for more events: its job's row is locked, so nobody claims it meanwhile.
OPEN_RUN = (
    select(runs.c.run_id, runs.c.created_us)
    .where(
        runs.c.job == bindparam("job"),
        runs.c.trigger == "event",
        runs.c.state.in_(("scheduled", "queued")),
        runs.c.attempt == 0,
    )
    .order_by(runs.c.run_id.desc())
    .limit(1)
)
COUNT = select(func.count()).where(run_events.c.run_id == bindparam("run"))
JOIN = insert(run_events)
PUT_OFF = update(runs).where(runs.c.run_id == bindparam("run")).values(due_us=bindparam("due"))

#: The events of a run, or of the one that it does again.
EVENTS = select(run_events.c.body).where(run_events.c.run_id == bindparam("run")).order_by(run_events.c.n)
RETRY_OF = select(runs.c.retry_of).where(runs.c.run_id == bindparam("run"))

#: Nothing is put off for longer than so many times `debounce`.
MOST_DEBOUNCES = 10


@dataclass(frozen=True)
class Asked:
    """A run that a message asks for. `keys`: its slot key, and another one should that be taken by a stranger's."""

    job: str
    keys: tuple[str, ...]
    trigger: str = "event"
    #: The event, for the run to read; None where it reads none.
    body: str | None = None
    priority: int = 0
    params_json: str = "{}"
    order_key: str | None = None
    debounce_us: int = 0
    #: So many events share a run; 1: each has its own.
    batch: int = 1


def ask(connection: Connection, asked: Asked, now_us: int) -> int:
    """Records the run, or lets the event join one that has not begun; its number. In the caller's transaction."""
    if connection.execute(sql.LOCK_JOB, {"job": asked.job}).first() is None:
        raise StoreError(f"job {asked.job} is not known to the ledger yet; it is when a scheduler has started with it")
    run = connection.execute(OPEN_RUN, {"job": asked.job}).first() if asked.batch > 1 else None
    count = connection.execute(COUNT, {"run": run.run_id}).scalar_one() if run is not None else 0
    if run is None or count >= asked.batch:
        run_id, count = _record(connection, asked, now_us), 0
    else:
        run_id = run.run_id
        latest = run.created_us + MOST_DEBOUNCES * asked.debounce_us
        full = count + 1 >= asked.batch
        due = now_us if full else min(now_us + asked.debounce_us, max(latest, now_us))
        connection.execute(PUT_OFF, {"run": run_id, "due": due})
    if asked.body is not None:
        connection.execute(JOIN, {"run_id": run_id, "n": count, "body": asked.body})
    return run_id


def _record(connection: Connection, asked: Asked, now_us: int) -> int:
    for key in asked.keys:
        if connection.execute(sql.RUN_OF_KEY, {"job": asked.job, "key": key}).first() is None:
            values = {
                "job": asked.job,
                "slot_key": key,
                "slot_count": 1,
                "trigger": asked.trigger,
                "state": "scheduled" if asked.debounce_us and asked.batch > 1 else "queued",
                "priority": asked.priority,
                "params_json": asked.params_json,
                "order_key": asked.order_key,
                "due_us": now_us + (asked.debounce_us if asked.batch > 1 else 0),
                "created_us": now_us,
            }
            connection.execute(insert(runs), values)
            return int(connection.execute(sql.RUN_OF_KEY, {"job": asked.job, "key": key}).one().run_id)
    raise StoreError(f"job {asked.job}: the run {asked.keys[0]} is there already")


def events_of(engine: Engine, run_id: int | None) -> list[str]:
    """The events that a run is about, as JSON, in the order they came; none for a run of another kind."""
    with transactions.read(engine) as connection:
        while run_id is not None:
            bodies = list(connection.execute(EVENTS, {"run": run_id}).scalars())
            if bodies:
                return bodies
            run_id = connection.execute(RETRY_OF, {"run": run_id}).scalar()
    return []
