"""One statement carried out on many rows of a table, a range of its primary key a transaction.

Rows are found and changed by range: a list of keys would cost more than the change itself, and asking for the next
few rows that are left would read the table again for each.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Delete, Engine, Table, Update, and_, literal, or_, select

from db import engine as transactions
from db.pace import Pace


def sweep(
    engine: Engine,
    table: Table,
    wanted: ColumnElement[bool],
    statement: Delete | Update,
    hold: Callable[[Connection], None] = lambda connection: None,
) -> int:
    """Carries out the statement on the rows for which `wanted` holds; how many there were.

    Each transaction calls `hold` first, which may raise.
    """
    keys = list(table.primary_key.columns)
    pace, swept = Pace(engine), 0
    low: Sequence[Any] | None = None
    while True:
        with transactions.read(engine) as connection:
            low = connection.execute(_first(keys, low, wanted)).first()
            if low is None:
                return swept
            high = connection.execute(_first(keys, low, None).offset(pace.rows)).first()
        some = [wanted, _from(keys, low)] + ([] if high is None else [_below(keys, high)])
        with pace.transaction(), transactions.write(engine) as connection:
            hold(connection)
            swept += connection.execute(statement.where(*some)).rowcount
        if high is None:
            return swept
        low = high


def _first(keys: list[Column[Any]], low: Sequence[Any] | None, wanted: ColumnElement[bool] | None) -> Any:
    """The lowest key from `low` on, of the rows that are wanted."""
    where = ([] if low is None else [_from(keys, low)]) + ([] if wanted is None else [wanted])
    return select(*keys).where(*where).order_by(*keys).limit(1)


def _from(keys: list[Column[Any]], low: Sequence[Any]) -> ColumnElement[bool]:
    """Keys at or above `low`. The first column's own bound is what an index is searched by, on every database."""
    key, bound = keys[0], literal(low[0], keys[0].type)
    if len(keys) == 1:
        return key >= bound
    return and_(key >= bound, or_(key > bound, _from(keys[1:], low[1:])))


def _below(keys: list[Column[Any]], high: Sequence[Any]) -> ColumnElement[bool]:
    key, bound = keys[0], literal(high[0], keys[0].type)
    if len(keys) == 1:
        return key < bound
    return and_(key <= bound, or_(key < bound, _below(keys[1:], high[1:])))
