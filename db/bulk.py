"""Many rows of columns into a table, and many rows of it changed by key: each database's fastest way.

SQLite: executemany over the columns' own values. PostgreSQL: binary COPY; rows to be changed are named in a temporary
table. MariaDB and MySQL: one INSERT of many rows, written here; rows to be changed as on PostgreSQL.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import DBAPIError

from db import copy_binary

if TYPE_CHECKING:
    from db.columns import Columns

#: A statement of many rows ends at so many characters; servers take at least four times that by default.
STATEMENT_CHARACTERS = 1_000_000
#: Rows made into bytes at once, while the server still works at the ones before.
ENCODED = 5_000
#: SQLite keeps so many pages, of this connection and from then on, for the ends of an index that rows go to. Others
#: keep 2 MB: a scheduler holds a dozen connections for months, and each fills what it may.
CACHE_KB = 65_536
#: What MySQL reads as something else inside quotes.
_SPECIAL = re.compile(r"['\\\x00\n\r\x1a]")


class Bulk:
    """Rows of one table; `constants` are columns that have the same value in every row to be inserted."""

    def __init__(self, engine: Engine, table: Table, constants: Mapping[str, int]) -> None:
        self._quote = engine.dialect.identifier_preparer.quote
        self._table = engine.dialect.identifier_preparer.format_table(table)
        self._named = table.name
        self._constants = dict(constants)
        self._kind = "mysql" if engine.dialect.name == "mariadb" else engine.dialect.name

    def insert(self, connection: Connection, rows: "Columns") -> None:
        """Inserts the rows: int64, float64 (NaN is NULL) and objects (text or None), in arrays of one length."""
        ways = {"sqlite": self._executemany, "postgresql": self._copy, "mysql": self._values}
        with _own_errors(connection):
            ways[self._kind](connection, self._table, rows, self._constants)

    def upsert(self, connection: Connection, rows: "Columns", key: Sequence[str]) -> None:
        """Inserts the rows, or updates those whose key is there; no key comes twice."""
        changed = [name for name in rows if name not in key]
        with _own_errors(connection):
            if self._kind == "mysql":
                # INSERT IGNORE would hide other errors, so where there is nothing to update a key is set to itself.
                sets = [f"{self._quote(c)} = VALUES({self._quote(c)})" for c in changed or key[:1]]
                self._values(connection, self._table, rows, {}, f" ON DUPLICATE KEY UPDATE {', '.join(sets)}")
                return
            sets = [f"{self._quote(c)} = excluded.{self._quote(c)}" for c in changed]
            does = f"UPDATE SET {', '.join(sets)}" if sets else "NOTHING"
            conflict = f" ON CONFLICT ({', '.join(map(self._quote, key))}) DO {does}"
            if self._kind == "sqlite":
                self._executemany(connection, self._table, rows, {}, conflict)
                return
            listed = self._listed(rows, {})
            named = self._name(connection, rows)
            _cursor(connection).execute(f"INSERT INTO {self._table} ({listed}) SELECT {listed} FROM {named}{conflict}")

    def change(self, connection: Connection, keys: "Columns", column: str, was: int, value: int) -> None:
        """Gives `column` a new value in the rows that have these keys, where it is `was`; others stay as they are."""
        with _own_errors(connection):
            self._change(connection, keys, column, was, value)

    def _change(self, connection: Connection, keys: "Columns", column: str, was: int, value: int) -> None:
        column = self._quote(column)
        if self._kind == "sqlite":
            at = " AND ".join(f"{self._quote(name)} = ?" for name in keys)
            update = f"UPDATE {self._table} SET {column} = {value:d} WHERE {at} AND {column} = {was:d}"
            self._many(connection, update, keys)
            return
        named = self._name(connection, keys)
        at = " AND ".join(f"t.{self._quote(name)} = named.{self._quote(name)}" for name in keys)
        if self._kind == "postgresql":
            # Key by key through the primary key: not knowing how few they are, the planner sorts the whole table.
            _cursor(connection).execute("SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off")
            update = f"UPDATE {self._table} AS t SET {column} = {value:d} FROM {named} AS named WHERE {at}"
        else:
            # The same there.
            update = (
                f"UPDATE {named} AS named STRAIGHT_JOIN {self._table} AS t ON {at} SET t.{column} = {value:d} WHERE 1"
            )
        _cursor(connection).execute(f"{update} AND t.{column} = {was:d}")

    def _name(self, connection: Connection, rows: "Columns") -> str:
        """Puts the rows into a temporary table, whose name is returned."""
        named = self._quote(f"clockmill_{self._named}")
        listed = ", ".join(map(self._quote, rows))
        cursor = _cursor(connection)
        if self._kind == "postgresql":
            empty = f"SELECT {listed} FROM {self._table} WITH NO DATA"
            cursor.execute(f"CREATE TEMPORARY TABLE {named} ON COMMIT DROP AS {empty}")
            self._copy(connection, named, rows, {})
        else:
            cursor.execute(f"DROP TEMPORARY TABLE IF EXISTS {named}")
            cursor.execute(f"CREATE TEMPORARY TABLE {named} AS SELECT {listed} FROM {self._table} WHERE 1 = 0")
            self._values(connection, named, rows, {})
        return named

    def _executemany(
        self, connection: Connection, table: str, rows: "Columns", constants: Mapping[str, int], conflict: str = ""
    ) -> None:
        marks = ", ".join([*("?" for _ in rows), *(f"{value:d}" for value in constants.values())])
        into = f"INSERT INTO {table} ({self._listed(rows, constants)}) VALUES ({marks}){conflict}"
        self._many(connection, into, rows)

    def _many(self, connection: Connection, statement: str, rows: "Columns") -> None:
        """SQLite's way: the statement for every row. The pages that it goes through stay in memory."""
        cursor = _cursor(connection)
        cursor.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        cursor.executemany(statement, zip(*map(plain, rows.values()), strict=True))

    def _copy(self, connection: Connection, table: str, rows: "Columns", constants: Mapping[str, int]) -> None:
        import numpy as np

        n = len(next(iter(rows.values())))
        names = [*rows, *constants]
        columns = [*rows.values(), *(np.full(n, value, np.int64) for value in constants.values())]
        order = copy_binary.order(columns)
        listed = ", ".join(self._quote(names[i]) for i in order)
        with _cursor(connection).copy(f"COPY {table} ({listed}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(copy_binary.HEADER)
            for at in range(0, n, ENCODED):
                copy.write(copy_binary.encode([columns[i][at : at + ENCODED] for i in order]))
            copy.write(copy_binary.TRAILER)

    def _values(
        self, connection: Connection, table: str, rows: "Columns", constants: Mapping[str, int], conflict: str = ""
    ) -> None:
        driver: Any = connection.connection.driver_connection
        literals = [_literals(driver, values) for values in rows.values()]
        template = ",".join([*("%s" for _ in rows), *(f"{value:d}" for value in constants.values())])
        tuples = list(map(f"({template})".__mod__, zip(*literals, strict=True)))
        cursor = driver.cursor()
        for some in _statements(tuples):
            cursor.execute(f"INSERT INTO {table} ({self._listed(rows, constants)}) VALUES {','.join(some)}{conflict}")

    def _listed(self, rows: "Columns", constants: Mapping[str, int]) -> str:
        return ", ".join(map(self._quote, [*rows, *constants]))


def plain(values: Any) -> list[Any]:
    """Python values for a driver; a float that is no number becomes NULL."""
    listed: list[Any] = values.tolist()
    if values.dtype.kind == "f" and bool((values != values).any()):
        return [None if value != value else value for value in listed]
    return listed


def _literals(driver: Any, values: Any) -> list[Any]:
    """What stands for each value in a statement of MySQL's."""
    listed = plain(values)
    if values.dtype.kind == "f":
        return ["NULL" if value is None else repr(value) for value in listed]
    if values.dtype.kind != "O":
        return listed
    texts = [value if value is None else f"{value:d}" if isinstance(value, bool) else str(value) for value in listed]
    if _SPECIAL.search("".join(filter(None, texts))):
        return ["NULL" if text is None else driver.escape(text) for text in texts]
    return ["NULL" if text is None else f"'{text}'" for text in texts]


def _statements(tuples: Sequence[str]) -> Iterator[Sequence[str]]:
    """Parts of about STATEMENT_CHARACTERS each."""
    begin, room = 0, STATEMENT_CHARACTERS
    for end, written in enumerate(accumulate(map(len, tuples)), start=1):
        if written >= room or end == len(tuples):
            yield tuples[begin:end]
            begin, room = end, written + STATEMENT_CHARACTERS


def _cursor(connection: Connection) -> Any:
    """The driver's own cursor, inside the connection's transaction."""
    driver: Any = connection.connection.driver_connection
    return driver.cursor()


@contextmanager
def _own_errors(connection: Connection) -> Iterator[None]:
    """The driver's errors as SQLAlchemy's: what is tried again after them is decided by those."""
    dialect = connection.dialect
    errors: Any = dialect.loaded_dbapi.Error
    try:
        yield
    except errors as e:
        gone = dialect.is_disconnect(e, connection.connection.driver_connection, None)
        own = DBAPIError.instance(None, None, e, errors, connection_invalidated=gone, dialect=dialect)
        if gone:
            connection.invalidate(e)
        raise own from e
