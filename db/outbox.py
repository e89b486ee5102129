"""The outbox: events that a transaction tells of, until the broker has answered for each.

A row is inserted in the transaction of what it tells; it is marked when the broker has confirmed it. Whoever dies in
between leaves it unmarked, and it is sent again: at least once, with the same id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from db import engine as transactions
from db.failpoint import reach
from db.tables import Record, outbox

#: Rows, and bytes of their bodies, that are sent at once.
BATCH, BATCH_BYTES = 500, 8 * 2**20
#: Rows deleted in one transaction.
PRUNED = 500

PUT = insert(outbox)

#: What has to be sent, the oldest first, without the bodies.
DUE = (
    select(outbox.c.seq, outbox.c.order_key, outbox.c.size)
    .where(outbox.c.published_us.is_(None), outbox.c.due_us <= bindparam("now"))
    .order_by(outbox.c.seq)
    .limit(BATCH)
)
BODIES = select(outbox).where(outbox.c.seq.in_(bindparam("seqs", expanding=True))).order_by(outbox.c.seq)

#: Keys of which an earlier event waits for its next try: the later ones wait with it.
HELD_UP = select(outbox.c.order_key, func.min(outbox.c.seq)).where(
    outbox.c.published_us.is_(None), outbox.c.due_us > bindparam("now"), outbox.c.order_key.is_not(None)
).group_by(outbox.c.order_key)  # fmt: skip

MARK = update(outbox).where(outbox.c.seq.in_(bindparam("seqs", expanding=True))).values(published_us=bindparam("now"))
POSTPONE = (
    update(outbox)
    .where(outbox.c.seq == bindparam("row"))
    .values(due_us=bindparam("due"), tries=outbox.c.tries + 1, problem=bindparam("why"))
)
AT_ONCE = update(outbox).where(outbox.c.published_us.is_(None), outbox.c.due_us > bindparam("now")).values(
    due_us=bindparam("now")
)  # fmt: skip
WAITING = select(func.count(), func.min(outbox.c.created_us), func.max(outbox.c.problem)).where(
    outbox.c.published_us.is_(None)
)
SENT = select(outbox.c.seq).where(outbox.c.published_us < bindparam("before")).limit(PRUNED)


@dataclass(frozen=True)
class Waiting:
    """What has not been sent: how much, since when, and what the broker said of one that it would not have."""

    count: int
    oldest_us: int | None
    problem: str | None


def put(connection: Connection, rows: Sequence[dict[str, Any]], now_us: int) -> None:
    """In the caller's transaction: (event_id, type, order_key, body, kept, run_id, fence) of each."""
    whole = {"created_us": now_us, "due_us": now_us, "tries": 0, "run_id": None, "fence": None}
    if rows:
        connection.execute(PUT, [{**whole, **row, "size": len(row["body"].encode())} for row in rows])


def due(engine: Engine, now_us: int) -> Sequence[Record]:
    """What has to be sent next, in order; nothing of a key that an earlier event holds up."""
    with transactions.read(engine) as connection:
        listed = connection.execute(DUE, {"now": now_us}).all()
        if not listed:
            return []
        held = {row.order_key: row[1] for row in connection.execute(HELD_UP, {"now": now_us})}
        seqs: list[int] = []
        room = BATCH_BYTES
        for row in listed:
            if row.order_key in held and held[row.order_key] < row.seq:
                continue
            if seqs and room < row.size:
                break
            seqs.append(row.seq)
            room -= row.size
        return connection.execute(BODIES, {"seqs": seqs}).all()


def mark_published(engine: Engine, seqs: Iterable[int], now_us: int) -> None:
    """The broker has answered for these."""
    values = {"seqs": list(seqs), "now": now_us}
    reach("before-mark")
    if values["seqs"]:
        transactions.in_write(engine, lambda connection: connection.execute(MARK, values))


def postpone(engine: Engine, rows: Sequence[tuple[int, int, str]], now_us: int) -> None:
    """The broker would not have these: (seq, next try, why) of each."""
    values = [{"row": seq, "due": due_us, "why": why} for seq, due_us, why in rows]
    if values:
        transactions.in_write(engine, lambda connection: connection.execute(POSTPONE, values))


def hurry(engine: Engine, now_us: int) -> None:
    """What waits for its next try is tried at once: somebody may want it now."""
    transactions.in_write(engine, lambda connection: connection.execute(AT_ONCE, {"now": now_us}))


def waiting(engine: Engine) -> Waiting:
    with transactions.read(engine) as connection:
        return Waiting(*connection.execute(WAITING).one())


def prune(engine: Engine, before_us: int) -> int:
    """Deletes some events that were sent before; how many."""

    def work(connection: Connection) -> int:
        seqs = connection.execute(SENT, {"before": before_us}).scalars().all()
        connection.execute(outbox.delete().where(outbox.c.seq.in_(seqs)))
        return len(seqs)

    return transactions.in_write(engine, work)
