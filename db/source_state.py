"""What content a source has, as one word: two words that are equal mean that nothing has changed in between.

    clockmill's own tables in SQLite    a random number that triggers draw anew with every change, whoever makes it
    PostgreSQL, MariaDB, MySQL          the number of rows, and the sum of a 60 or 64 bit hash of each, by the server:
                                        of tables, views and queries alike; deletions and corrections in place count
    other tables in SQLite              none: it has no hash, and reading them takes no longer than one would

An increment column would not do: a row that is deleted while another is entered late leaves both its maximum and the
number of rows as they were.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from db.tables import canonical

EVENTS = ("INSERT", "UPDATE", "DELETE")
#: PostgreSQL's numbers of int2, int4 and int8.
WHOLE = frozenset({20, 21, 23})
NULL = "7262183092174629431"


def state_of(connection: Connection, table: str | None, sql: str, columns: Sequence[str]) -> str | None:
    """The word for the rows of a SELECT of these columns; None where there is none.

    `table` is clockmill's own table that it reads, None for another. Raises the driver's errors.
    """
    if connection.dialect.name == "sqlite":
        return _token(connection, table) if table else None
    quote = connection.dialect.identifier_preparer.quote
    named = [quote(column) for column in columns]
    if connection.dialect.name == "postgresql":
        hashed = _chained(connection, sql, named)
    else:
        text = ", ".join(f"quote({column})" for column in named)
        hashed = f"CAST(conv(left(md5(concat_ws(',', {text})), 15), 16, 10) AS UNSIGNED)"
    cursor: Any = connection.connection.cursor()
    cursor.execute(f"SELECT count(*), sum({hashed}) FROM ({sql}\n) AS clockmill_state")
    rows, total = cursor.fetchone()
    return f"{rows}:{total or 0}"


def _chained(connection: Connection, sql: str, columns: Sequence[str]) -> str:
    """Each column's hash is the seed of the next one's."""
    cursor: Any = connection.connection.cursor()
    cursor.execute(f"SELECT * FROM ({sql}\n) AS clockmill_types WHERE 1 = 0")
    hashed = "0"
    for column, described in zip(columns, cursor.description, strict=True):
        if described.type_code in WHOLE:
            one = f"hashint8extended({column}, {hashed})"
        else:
            one = f'hashtextextended(CAST({column} AS text) COLLATE "C", {hashed})'
        hashed = f"coalesce({one}, hashint8extended({NULL}, {hashed}))"
    return hashed


def watch(connection: Connection, table: str) -> None:
    """Lets SQLite tell of every change of clockmill's own table from now on; elsewhere there is nothing to do."""
    if connection.dialect.name != "sqlite":
        return
    draw = f"UPDATE canonical SET token = random() WHERE name = '{table}'"
    for event in EVENTS:
        name = _trigger(table, event)
        connection.exec_driver_sql(f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} ON {table} BEGIN {draw}; END")
    connection.exec_driver_sql(draw)


def unwatch(connection: Connection, table: str) -> None:
    """Until it is watched again the table has no word: a load would pay for a trigger at every row."""
    if connection.dialect.name != "sqlite":
        return
    for event in EVENTS:
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {_trigger(table, event)}")
    connection.execute(update(canonical).where(canonical.c.name == table).values(token=0))


def _trigger(table: str, event: str) -> str:
    return f"clockmill_watch_{table}_{event.lower()}"


def _token(connection: Connection, table: str) -> str | None:
    """None unless all three triggers are on that table: it may have been made anew by hand."""
    names = [_trigger(table, event) for event in EVENTS]
    marks = ", ".join("?" * len(names))
    query = f"SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND name IN ({marks})"
    if connection.exec_driver_sql(query, (table, *names)).scalar() != len(EVENTS):
        return None
    found = connection.execute(select(canonical.c.token).where(canonical.c.name == table)).scalar()
    return str(found) if found else None
