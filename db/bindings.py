"""Which queues were bound to which types of events: a broker does not tell its clients."""

from collections.abc import Collection

from sqlalchemy import Connection, Engine, bindparam, select

from db import engine as transactions
from db import statements as sql
from db.tables import bindings

OF_QUEUES = select(bindings.c.queue, bindings.c.pattern).where(
    bindings.c.queue.in_(bindparam("queues", expanding=True))
)


def note(engine: Engine, wanted: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Records these (queue, pattern); what was recorded of the same queues before and is not among them."""
    rows = [{"queue": queue, "pattern": pattern} for queue, pattern in sorted(wanted)]

    def work(connection: Connection) -> set[tuple[str, str]]:
        if rows:
            connection.execute(sql.insert_ignore(connection, bindings), rows)
        queues = sorted({queue for queue, _ in wanted})
        return {(row.queue, row.pattern) for row in connection.execute(OF_QUEUES, {"queues": queues})} - set(wanted)

    return transactions.in_write(engine, work)


def forget(engine: Engine, stale: Collection[tuple[str, str]]) -> None:
    """These are bound no more."""

    def work(connection: Connection) -> None:
        for queue, pattern in sorted(stale):
            connection.execute(bindings.delete().where(bindings.c.queue == queue, bindings.c.pattern == pattern))

    if stale:
        transactions.in_write(engine, work)
