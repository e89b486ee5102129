"""The inbox: which events have had their effect, each recorded by the transaction of that effect.

A message may come any number of times, from any number of brokers' retries; its row is there once. Two transactions
that handle the same event at once meet at this row: the second sees whose it is, and gives way.
"""

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection, Engine, bindparam, select

from db import engine as transactions
from db import statements as sql
from db.failpoint import reach
from db.tables import inbox

#: Rows deleted in one transaction.
PRUNED = 1000

SEEN = select(inbox.c.event, inbox.c.token).where(
    inbox.c.consumer == bindparam("who"), inbox.c.event.in_(bindparam("asked", expanding=True))
)
OLD = select(inbox.c.consumer, inbox.c.event).where(inbox.c.at_us < bindparam("before")).limit(PRUNED)


class Seen(Exception):
    """Some of the events have had their effect already; nothing of this transaction is committed."""

    def __init__(self, events: Collection[str]) -> None:
        super().__init__(f"{len(events)} events were handled meanwhile")
        self.events = set(events)


def seen(engine: Engine, consumer: str, events: Collection[str]) -> set[str]:
    """Those of the events that have had their effect."""
    with transactions.read(engine) as connection:
        return {row.event for row in connection.execute(SEEN, {"who": consumer, "asked": list(events)})}


def handle(
    engine: Engine,
    consumer: str,
    events: Sequence[str],
    token: str,
    now_us: int,
    effect: Callable[[Connection], object],
) -> None:
    """Records the events and carries out their effect, in one transaction. `token` is new for every call.

    Raises Seen, with nothing committed, when some were handled before. When the answer to COMMIT was lost, the rows
    say whether the transaction stands.
    """
    rows = [{"consumer": consumer, "event": event, "token": token, "at_us": now_us} for event in sorted(set(events))]
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        if tries > 1 and _tokens(connection, consumer, events) == {token}:
            return
        # In one order for everybody: two transactions with the same events wait for each other, and never in a ring.
        connection.execute(sql.insert_ignore(connection, inbox), rows)
        found = connection.execute(SEEN, {"who": consumer, "asked": list(events)}).all()
        others = {row.event for row in found if row.token != token}
        if others:
            raise Seen(others)
        effect(connection)
        reach("handled")

    transactions.in_write(engine, work)
    reach("after-handled")


def _tokens(connection: Connection, consumer: str, events: Sequence[str]) -> set[str]:
    return {row.token for row in connection.execute(SEEN, {"who": consumer, "asked": list(events)})}


def prune(engine: Engine, before_us: int) -> int:
    """Forgets some events that were handled before; how many."""

    def work(connection: Connection) -> int:
        rows = connection.execute(OLD, {"before": before_us}).all()
        if rows:
            where = (inbox.c.consumer == bindparam("who"), inbox.c.event == bindparam("what"))
            connection.execute(inbox.delete().where(*where), [{"who": r.consumer, "what": r.event} for r in rows])
        return len(rows)

    return transactions.in_write(engine, work)
