"""What went through queues, in rows of a few seconds; each process writes its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, case, func, insert, or_, select

from db import engine as transactions
from db.statements import WAITING
from db.tables import Record, flows, runs

#: What is said of a queue is said of so many seconds.
WINDOW_S = 60
#: Rows are kept so long.
KEPT_S = 86_400

RECENT = select(flows).where(flows.c.at_us >= bindparam("since")).order_by(flows.c.at_us)


@dataclass(frozen=True)
class Seen:
    """The rows of one queue within the window, of all processes together."""

    seconds: float
    settled: int
    failed: int
    dead: int
    busy_s: float
    hands: int
    lag_s: float | None
    first_depth: int | None


def put(engine: Engine, owner: str, rows: Sequence[Mapping[str, Any]], at_us: int) -> None:
    """What this process saw until now."""
    if rows:
        values = [{**row, "owner": owner, "at_us": at_us} for row in rows]
        transactions.in_write(engine, lambda connection: connection.execute(insert(flows), values))


def seen(engine: Engine, since_us: int) -> dict[str, Seen]:
    """Every queue of which there are rows since then."""
    with transactions.read(engine) as connection:
        by_queue: dict[str, list[Record]] = {}
        for row in connection.execute(RECENT, {"since": since_us}):
            by_queue.setdefault(row.queue, []).append(row)
    return {queue: _add_up(rows) for queue, rows in by_queue.items()}


def _add_up(rows: list[Record]) -> Seen:
    of_owner: dict[str, float] = {}
    hands: dict[str, int] = {}
    for row in rows:
        of_owner[row.owner] = of_owner.get(row.owner, 0.0) + row.seconds
        hands[row.owner] = row.hands
    lags = [row.lag_s for row in rows[-len(of_owner) :] if row.lag_s is not None]
    return Seen(
        # Processes look at the same seconds, side by side.
        seconds=max(of_owner.values()),
        settled=sum(row.done + row.dead for row in rows),
        failed=sum(row.failed for row in rows),
        dead=sum(row.dead for row in rows),
        busy_s=sum(row.busy_s for row in rows),
        hands=sum(hands.values()),
        lag_s=max(lags, default=None),
        first_depth=next((row.depth for row in rows if row.depth is not None), None),
    )


#: For each job: runs that are due and wait, since when the first of them, runs that ended in the last minute.
WAITING_RUNS = (
    select(
        runs.c.job,
        func.sum(case((runs.c.state.in_(WAITING), 1), else_=0)),
        func.min(case((runs.c.state.in_(WAITING), runs.c.due_us))),
        func.sum(case((runs.c.state.in_(WAITING), 0), else_=1)),
        func.sum(case((runs.c.state.in_(WAITING), 0), else_=runs.c.ended_us - runs.c.started_us)),
    )
    .where(
        or_(
            and_(runs.c.state.in_(WAITING), runs.c.due_us <= bindparam("now")),
            and_(runs.c.ended_us >= bindparam("since"), runs.c.started_us.is_not(None)),
        )
    )
    .group_by(runs.c.job)
)


def waiting_runs(engine: Engine, now_us: int) -> list[tuple[str, int, int | None, int, float]]:
    """(job, due runs that wait, since when the first, runs ended within the window, seconds these took) of each."""
    values = {"now": now_us, "since": now_us - WINDOW_S * 1_000_000}
    with transactions.read(engine) as connection:
        return [
            (job, int(waits), oldest, int(ended), float(busy_us or 0) / 1e6)
            for job, waits, oldest, ended, busy_us in connection.execute(WAITING_RUNS, values)
        ]


def prune(engine: Engine, before_us: int) -> None:
    def work(connection: Connection) -> None:
        connection.execute(flows.delete().where(flows.c.at_us < before_us))

    transactions.in_write(engine, work)
