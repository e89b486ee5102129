"""Tallies: what jobs and handlers count while they work. Each addition stands or falls with what it belongs to."""

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, bindparam, select, update

from db import engine as transactions
from db.statements import insert_ignore
from db.tables import Record, tallies

#: The row of the tally has been made before.
ADD = (
    update(tallies)
    .where(tallies.c.name == bindparam("of_name"), tallies.c.key == bindparam("of_key"))
    .values(value=tallies.c.value + bindparam("more"), as_of_us=bindparam("at"))
)
ALL = select(tallies).order_by(tallies.c.name, tallies.c.key)


def add(connection: Connection, amounts: Mapping[tuple[str, str], float], at_us: int) -> None:
    """Adds to tallies, by (name, key), in the caller's transaction."""
    # One order for everybody: who counts the same things at once waits, and does not deadlock.
    ordered = sorted(amounts)
    if ordered:
        fresh = [{"name": name, "key": key, "value": 0, "as_of_us": at_us} for name, key in ordered]
        connection.execute(insert_ignore(connection, tallies), fresh)
        more = [{"of_name": name, "of_key": key, "more": amounts[name, key], "at": at_us} for name, key in ordered]
        connection.execute(ADD, more)


def everything(engine: Engine) -> list[Record]:
    """(name, key, value, as_of_us) of each."""
    with transactions.read(engine) as connection:
        return list(connection.execute(ALL))
