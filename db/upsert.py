"""Rows put into a table by key, each database's fastest simple way."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine.default import DefaultDialect

Row = tuple[Any, ...]

# Double quotes serve all three databases: clockmill's MySQL sessions set ANSI_QUOTES.
_quote = DefaultDialect().identifier_preparer.quote_identifier


def upsert(connection: Connection, table: str, columns: Sequence[str], key: Sequence[str], rows: list[Row]) -> None:
    """Inserts the rows, or updates those whose key is there; of two rows of one key the later wins."""
    if not rows:
        return
    # Neighbours in the index are written together; the sort is stable, so the later row stays the later one.
    rows.sort(key=itemgetter(*map(columns.index, key)))
    ways = {"sqlite": _sqlite, "postgresql": _postgresql}
    ways.get(connection.dialect.name, _mysql)(connection, table, columns, key, rows)


def _sqlite(connection: Connection, table: str, columns: Sequence[str], key: Sequence[str], rows: list[Row]) -> None:
    into = f"INSERT INTO {_quote(table)} ({_list(columns)}) VALUES ({', '.join('?' * len(columns))})"
    _cursor(connection).executemany(f"{into} {_on_conflict(columns, key)}", rows)


def _postgresql(
    connection: Connection, table: str, columns: Sequence[str], key: Sequence[str], rows: list[Row]
) -> None:
    cursor = _cursor(connection)
    listed = _list(columns)
    cursor.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS clockmill_batch AS SELECT {listed} FROM {_quote(table)} WITH NO DATA"
    )
    with cursor.copy(f"COPY clockmill_batch ({listed}) FROM STDIN") as copy:
        for row in _last_of_each(columns, key, rows):
            copy.write_row(row)
    cursor.execute(
        f"INSERT INTO {_quote(table)} ({listed}) SELECT {listed} FROM clockmill_batch {_on_conflict(columns, key)}"
    )
    cursor.execute("DROP TABLE clockmill_batch")


def _mysql(connection: Connection, table: str, columns: Sequence[str], key: Sequence[str], rows: list[Row]) -> None:
    changed = [c for c in columns if c not in key]
    # INSERT IGNORE would hide other errors, so where there is nothing to update a key column is set to itself.
    updates = ", ".join(f"{_quote(c)} = VALUES({_quote(c)})" for c in changed or key[:1])
    into = f"INSERT INTO {_quote(table)} ({_list(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"
    _cursor(connection).executemany(f"{into} ON DUPLICATE KEY UPDATE {updates}", rows)


def _cursor(connection: Connection) -> Any:
    """The driver's own cursor, inside the connection's transaction."""
    driver: Any = connection.connection.driver_connection
    return driver.cursor()


def _list(columns: Sequence[str]) -> str:
    return ", ".join(map(_quote, columns))


def _on_conflict(columns: Sequence[str], key: Sequence[str]) -> str:
    updates = ", ".join(f"{_quote(c)} = excluded.{_quote(c)}" for c in columns if c not in key)
    return f"ON CONFLICT ({_list(key)}) DO " + (f"UPDATE SET {updates}" if updates else "NOTHING")


def _last_of_each(columns: Sequence[str], key: Sequence[str], rows: list[Row]) -> list[Row]:
    """PostgreSQL refuses to update a row twice in one statement."""
    positions = [columns.index(c) for c in key]
    return list({tuple(row[i] for i in positions): row for row in rows}.values())
