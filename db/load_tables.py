"""Converted rows into a canonical table: merged with what is there, or put in its place in one step.

A batch holds a lock for BATCH_S at most. What takes the place of a table is filled aside, where nobody reads:

    SQLite, MariaDB   another table, which takes the name in one step; the old one is emptied afterwards
    PostgreSQL        a temporary table, then one transaction: what depends on the table (views, grants) stays
"""

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, inspect
from sqlalchemy.exc import DBAPIError

from db import engine as engines
from db.bulk import Bulk
from db.canonical import CANONICAL, IdKind, canonical_table, own_kinds, register
from db.columns import Columns, length
from db.errors import LoadError
from db.pace import Pace
from db.source_state import unwatch, watch

Kinds = Mapping[str, IdKind]
Batches = Iterator[Columns]


def put(
    engine: Engine, source: str, columns: Sequence[str], kinds: Kinds, batches: Batches, afresh: bool, replace: bool
) -> None:
    """Writes batches in key order, in which no key comes twice.

    `afresh`: nothing need be kept, for there are no rows or `replace` drops them.
    """
    with _refusals(engine, source):
        if not afresh:
            _merge(engine, source, batches)
        elif engine.dialect.name == "postgresql" or (engine.dialect.name == "sqlite" and _is_adorned(engine, source)):
            _replace_content(engine, source, kinds, batches, replace)
        else:
            with _alone(engine, source):
                _replace_table(engine, source, kinds, batches, replace)


def count(connection: Connection, table: str, most: int | None = None) -> int:
    limit = f" LIMIT {most}" if most else ""
    counted = connection.exec_driver_sql(f"SELECT count(*) FROM (SELECT 1 FROM {table}{limit}) AS counted")
    return int(counted.scalar_one())


def _merge(engine: Engine, source: str, batches: Batches) -> None:
    """Into a table that has rows: the new one of two rows of one key stays."""
    with engines.read(engine) as connection:
        kinds = own_kinds(connection, source) or {}
    bulk = Bulk(engine, canonical_table(source, kinds), {})
    with engines.write(engine) as connection:
        unwatch(connection, source)
    _write(engine, batches, lambda c, rows: bulk.upsert(c, rows, CANONICAL[source].key))
    with engines.read(engine) as connection:
        rows = count(connection, source)
    with engines.write(engine) as connection:
        register(connection, source, kinds, rows)
        watch(connection, source)


def _write(engine: Engine, batches: Batches, put: Callable[[Connection, Columns], None]) -> int:
    """In transactions that hold a lock for a moment each; how many rows there were."""
    pace, done = Pace(engine), 0
    for batch in batches:
        begin, n = 0, length(batch)
        while begin < n:
            end = min(n, begin + pace.rows)
            some = {name: values[begin:end] for name, values in batch.items()}
            with pace.transaction(), engines.write(engine) as connection:
                put(connection, some)
            begin, done = end, done + length(some)
    return done


# -- a table in the place of another ----------------------------------------------------------------------------------


def _replace_table(engine: Engine, source: str, kinds: Kinds, batches: Batches, replace: bool) -> None:
    new, old = f"clockmill_new_{source}", f"clockmill_old_{source}"
    # What a killed load left behind; the lock says that no other is under way.
    _drop(engine, source, new, old)
    try:
        table = canonical_table(source, kinds, new)
        with engines.write(engine) as connection:
            _make_aside(connection, source, kinds, table)
        rows = _write(engine, batches, Bulk(engine, table, {}).insert)
        with engines.write(engine) as connection:
            if not replace:
                _keep(connection, source, kinds, new)
            # First, for MySQL commits at every definition of a table: one that is not registered is not clockmill's.
            register(connection, source, kinds, rows)
            unwatch(connection, source)
            _rename(connection, source, new, old)
            watch(connection, source)
    finally:
        _drop(engine, source, new, old)


def _make_aside(connection: Connection, source: str, kinds: Kinds, table: Table) -> None:
    if connection.dialect.name != "sqlite" and own_kinds(connection, source) == kinds:
        connection.exec_driver_sql(f"CREATE TABLE {table.name} LIKE {source}")
    else:
        table.create(connection)


def _keep(connection: Connection, source: str, kinds: Kinds, new: str) -> None:
    """Rows that somebody else wrote into the empty table meanwhile come along."""
    if own_kinds(connection, source) != kinds:
        return
    listed = ", ".join(f'"{name}"' for name in CANONICAL[source].columns)
    replace = "INSERT OR REPLACE" if connection.dialect.name == "sqlite" else "REPLACE"
    connection.exec_driver_sql(f"{replace} INTO {new} ({listed}) SELECT {listed} FROM {source}")


def _rename(connection: Connection, source: str, new: str, old: str) -> None:
    there = own_kinds(connection, source) is not None
    if connection.dialect.name != "sqlite":
        away = f"{source} TO {old}, " if there else ""
        connection.exec_driver_sql(f"RENAME TABLE {away}{new} TO {source}")
        return
    # Views of the application go on naming the table, not the one that was there.
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    try:
        if there:
            connection.exec_driver_sql(f"ALTER TABLE {source} RENAME TO {old}")
        connection.exec_driver_sql(f"ALTER TABLE {new} RENAME TO {source}")
    finally:
        connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")


def _drop(engine: Engine, source: str, *tables: str) -> None:
    for name in tables:
        with engines.read(engine) as connection:
            there = inspect(connection).has_table(name)
        if there and engine.dialect.name == "sqlite":
            _empty(engine, source, name)
        if there:
            with engines.write(engine) as connection:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")


def _empty(engine: Engine, source: str, table: str) -> None:
    """Frees the pages of a large table a few at a time: one DROP would keep other writers waiting."""
    key = CANONICAL[source].key[0]
    pace = Pace(engine)
    while True:
        with engines.read(engine) as connection:
            query = f'SELECT "{key}" FROM {table} ORDER BY "{key}" LIMIT 1 OFFSET {pace.rows}'
            found = connection.exec_driver_sql(query).first()
        if found is None:
            return
        with pace.transaction(), engines.write(engine) as connection:
            gone = connection.exec_driver_sql(f'DELETE FROM {table} WHERE "{key}" < ?', (found[0],)).rowcount
            if not gone:  # one key has more rows than a batch
                connection.exec_driver_sql(f'DELETE FROM {table} WHERE "{key}" = ?', (found[0],))


def _is_adorned(engine: Engine, source: str) -> bool:
    """True when somebody gave the table indexes or triggers, which would go with it."""
    query = (
        "SELECT 1 FROM sqlite_master WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL "
        "AND name NOT LIKE 'clockmill_watch_%'"
    )
    with engines.read(engine) as connection:
        return connection.exec_driver_sql(query, (source,)).first() is not None


@contextmanager
def _alone(engine: Engine, source: str) -> Iterator[None]:
    """One load at a time fills the table aside."""
    with _file_lock(engine, source) if engine.dialect.name == "sqlite" else _server_lock(engine, source):
        yield


@contextmanager
def _file_lock(engine: Engine, source: str) -> Iterator[None]:
    """SQLite has one host: a byte of a file beside the database, which the system frees when its owner dies."""
    path = Path(f"{engine.url.database}-load")
    with path.open("ab") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, list(CANONICAL).index(source))
        except OSError:
            raise _busy(source) from None
        yield


@contextmanager
def _server_lock(engine: Engine, source: str) -> Iterator[None]:
    name = f"concat(database(), '.load.{source}')"
    with engines.read(engine) as connection:
        if connection.exec_driver_sql(f"SELECT get_lock({name}, 0)").scalar() != 1:
            raise _busy(source)
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT release_lock({name})")


def _busy(source: str) -> LoadError:
    return LoadError(f"{source} is being replaced by another load; wait for it")


# -- other rows in the same table -------------------------------------------------------------------------------------


def _replace_content(engine: Engine, source: str, kinds: Kinds, batches: Batches, replace: bool) -> None:
    """A temporary table holds no lock that others wait for; then everything in one transaction."""
    stage = canonical_table(source, kinds, f"clockmill_stage_{source}", temporary=True)
    with engine.connect() as connection:
        try:
            with connection.begin():
                stage.create(connection)
                bulk, rows = Bulk(engine, stage, {}), 0
                for batch in batches:
                    bulk.insert(connection, batch)
                    rows += length(batch)
            connection = connection.execution_options(writing=True)
            with connection.begin():
                unwatch(connection, source)
                _take_over(connection, source, kinds, stage.name, replace)
                register(connection, source, kinds, rows if replace else count(connection, source))
                watch(connection, source)
        finally:
            with connection.begin():
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {stage.name}")


def _take_over(connection: Connection, source: str, kinds: Kinds, stage: str, replace: bool) -> None:
    if own_kinds(connection, source) != kinds:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {source}")
        canonical_table(source, kinds).create(connection)
    elif replace:
        connection.exec_driver_sql(f"DELETE FROM {source}")
    listed = ", ".join(f'"{name}"' for name in CANONICAL[source].columns)
    # Rows that somebody else wrote into the empty table meanwhile stay.
    ignore = " ON CONFLICT DO NOTHING"
    connection.exec_driver_sql(f"INSERT INTO {source} ({listed}) SELECT {listed} FROM {stage} WHERE 1 = 1{ignore}")


@contextmanager
def _refusals(engine: Engine, source: str) -> Iterator[None]:
    """What the database refuses is a LoadError."""
    try:
        yield
    except (DBAPIError, engine.dialect.loaded_dbapi.Error) as e:
        sentence = (str(getattr(e, "orig", e)).strip().splitlines() or [type(e).__name__])[0]
        raise LoadError(f"{source}: the database refuses the load: {sentence}") from e
