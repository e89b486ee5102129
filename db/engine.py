"""Engines and transactions: the one place that knows how each database begins, waits and fails."""

import math
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from db.errors import DatabaseUnavailable, LedgerAway
from db.pause import pause

T = TypeVar("T")

#: How long a SQLite writer waits for another one; a batch holds the lock for 250 ms at most.
BUSY_TIMEOUT_S = 15
#: A server's connection that was used so lately needs no question whether it still stands.
TRUSTED_S = 1.0
#: After a deadlock, a serialization failure or a lost answer the transaction is tried so often before it is an error.
TRIES = 5
#: PostgreSQL serialization_failure, deadlock_detected; MySQL lock wait timeout, deadlock.
CONFLICTS = {"40001", "40P01", "1205", "1213"}
#: With these a database says that it cannot do anything now. SQLite: busy, I/O error, full, cannot open.
SQLITE_LEFT = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
#: PostgreSQL: connection exceptions, insufficient resources, operator intervention (shutdown, crash), system errors.
SQLSTATES_LEFT = ("08", "53", "57P", "58")
#: MySQL: disk or table full, too many connections, shutdown, not there, gone.
MYSQL_LEFT = (3, 1021, 1040, 1053, 1114, 2002, 2003, 2006, 2013)

#: Where the URL of clockmill's own database is configured.
SETTING = "[database] url"
DRIVERS = "sqlite:///FILE, postgresql+psycopg://..., mysql+pymysql://..."


def open_engine(url: str, setting: str = SETTING) -> Engine:
    """An engine for one of the three kinds of database; raises DatabaseUnavailable for a URL that cannot be used.

    `setting` is where the URL was configured, for messages.
    """
    with _usable(url, setting):
        parsed = make_url(url)
        return _sqlite(parsed, setting) if parsed.get_backend_name() == "sqlite" else _server(parsed, setting)


def open_source(url: str, setting: str) -> Engine:
    """An engine for an application's own database. A SQLite file must be there, and stays as it is."""
    with _usable(url, setting):
        parsed = make_url(url)
        return _sqlite_file(parsed, setting) if parsed.get_backend_name() == "sqlite" else _server(parsed, setting)


@contextmanager
def _usable(url: str, setting: str) -> Iterator[None]:
    try:
        yield
    except (ArgumentError, NoSuchModuleError):
        raise DatabaseUnavailable(f'{setting}: "{masked(url)}" is not a database URL; allowed: {DRIVERS}') from None
    except ModuleNotFoundError as e:
        raise DatabaseUnavailable(
            f'{setting}: "{masked(url)}" needs {e.name}; install clockmill[postgres] or clockmill[mysql]'
        ) from None


def masked(url: str | URL) -> str:
    """The URL with its password hidden."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return str(url).split("@")[-1]


def _sqlite(url: URL, setting: str) -> Engine:
    if not url.database or url.database == ":memory:":
        raise DatabaseUnavailable(f'{setting}: "{url}" is forgotten by every process; name a file: sqlite:///FILE')
    _private_folder(Path(url.database).parent)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, execution_options={"setting": setting})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: object) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    return _own_begin(engine)


def _sqlite_file(url: URL, setting: str) -> Engine:
    place = f"file:{quote(url.database or '')}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(place, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)

    return _own_begin(create_engine(url, creator=connect, execution_options={"setting": setting}))


def _own_begin(engine: Engine) -> Engine:
    """The driver's own BEGIN comes late and is never IMMEDIATE: clockmill begins its transactions itself."""

    @event.listens_for(engine, "connect")
    def leave_it(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as e:
        raise DatabaseUnavailable(f"[database] url: the folder {folder} cannot be made: {e.strerror}") from None


def _server(url: URL, setting: str) -> Engine:
    options: dict[str, Any] = {"pool_size": 10, "max_overflow": 30}
    options["execution_options"] = {"setting": setting}
    arguments: dict[str, Any] = {"connect_timeout": 10}
    if url.get_backend_name() in ("mysql", "mariadb"):
        # Gap locks of REPEATABLE READ make two claimers deadlock; strict mode refuses what would be cut silently.
        options["isolation_level"] = "READ COMMITTED"
        arguments |= {"charset": "utf8mb4", "init_command": "SET SESSION sql_mode = 'TRADITIONAL,ANSI_QUOTES'"}
    return _pinged(create_engine(url, connect_args=arguments, **options))


def _pinged(engine: Engine) -> Engine:
    """A connection that nobody used for a while is asked whether it still stands, before it is used again.

    pool_pre_ping asks every time, which a busy scheduler pays for with every transaction.
    """

    @event.listens_for(engine, "checkin")
    def note(connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, record: ConnectionPoolEntry, proxy: object) -> None:
        if time.monotonic() - record.info.get("used_at", math.inf) < TRUSTED_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception:
            raise InvalidatePoolError from None

    return engine


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """One read transaction: everything read in it belongs together."""
    with _translated(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """One write transaction, committed at the end of the block, rolled back by any error."""
    with _translated(engine), engine.connect() as connection:
        connection = connection.execution_options(writing=True)
        with connection.begin():
            yield connection


@contextmanager
def look(engine: Engine) -> Iterator[Connection]:
    """For reads that stand for themselves: servers are spared the questions that begin and end a transaction."""
    with _translated(engine), engine.connect() as connection, _alone(connection).begin():
        yield connection


def _alone(connection: Connection) -> Connection:
    """With every statement a transaction of its own on servers; on SQLite a transaction as ever."""
    if connection.dialect.name == "sqlite":
        return connection
    return connection.execution_options(isolation_level="AUTOCOMMIT")


def in_write(engine: Engine, work: Callable[[Connection], T], *, alone: bool = False) -> T:
    """Runs `work` in one write transaction, again when the database asks for that (deadlock, serialization) or when
    the connection broke before it answered.

    `work` must be safe to run again: what it did was rolled back, or, when only the answer to COMMIT was lost, stands.
    `alone`: it writes by one statement, which needs no transaction around it.
    """
    for attempt in range(TRIES):
        try:
            with engine.connect() as connection:
                connection = connection.execution_options(writing=True)
                with (_alone(connection) if alone else connection).begin():
                    return work(connection)
        except DBAPIError as e:
            if not (is_conflict(e) or answer_lost(e)) or attempt == TRIES - 1:
                raise _foreign(engine, e) from e
            pause(random.uniform(0, 0.05 * 2**attempt))
    raise AssertionError("the loop returns or raises")


def is_conflict(error: DBAPIError) -> bool:
    """True for errors after which the same transaction may succeed."""
    original = error.orig
    code = getattr(original, "sqlstate", None) or (str(original.args[0]) if original and original.args else "")
    return code in CONFLICTS or "database is locked" in str(original)


def answer_lost(error: DBAPIError) -> bool:
    """True when nobody knows whether the last statement, perhaps COMMIT, was carried out."""
    return error.connection_invalidated or "disk I/O error" in str(error.orig)


def has_left(error: DBAPIError) -> bool:
    """True when the database went away, ran out of room or of patience, whatever was asked of it."""
    if error.connection_invalidated or error.statement is None or is_conflict(error):
        return True
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF in SQLITE_LEFT
    if sqlstate := getattr(original, "sqlstate", None):
        return str(sqlstate).startswith(SQLSTATES_LEFT)
    return bool(original and original.args and original.args[0] in MYSQL_LEFT)


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as e:
        foreign = _foreign(engine, e)
        if foreign is e:
            raise
        raise foreign from e


def _foreign(engine: Engine, error: DBAPIError) -> Exception:
    # A file that is no database, or a damaged one, is DatabaseError itself.
    if not isinstance(error, OperationalError | InterfaceError) and type(error) is not DatabaseError:
        return error
    sentence = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    setting = engine.get_execution_options().get("setting", SETTING)
    kind = LedgerAway if setting == SETTING and has_left(error) else DatabaseUnavailable
    return kind(f"{setting}: {masked(engine.url)} does not answer as it should: {sentence}")
