"""What tests stand on. A service that is missing skips its tests at home, in one clear line, and fails them in CI."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from db import migrate, redis_server
from db.engine import open_engine, write
from db.errors import RedisUnavailable
from db.tables import metadata

#: The servers that tests may use; CLOCKMILL_TEST_POSTGRESQL and CLOCKMILL_TEST_MARIADB name others.
SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1/test",
    "mariadb": "mysql+pymysql://root@127.0.0.1/test",
}
KINDS = ("sqlite", *SERVERS)


def missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


# -- databases --------------------------------------------------------------------------------------------------------


def server_database(kind: str) -> Iterator[str]:
    """The URL of a database of the tests' own on a server, dropped at the end."""
    url = os.environ.get(f"CLOCKMILL_TEST_{kind.upper()}", SERVERS[kind])
    name = f"clockmill_test_{uuid.uuid4().hex[:12]}"
    _administer(url, f"CREATE DATABASE {name}")
    yield make_url(url).set(database=name).render_as_string(hide_password=False)
    _administer(url, f"DROP DATABASE {name}{' WITH (FORCE)' if kind == 'postgresql' else ''}")


def _administer(url: str, statement: str) -> None:
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            connection.exec_driver_sql(statement)
    except OperationalError as e:
        missing(f"no server at {url}: {str(e.orig).splitlines()[0]}")
    finally:
        server.dispose()


def empty_database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'test.db'}"
    else:
        yield from server_database(kind)


@pytest.fixture(scope="module", params=KINDS)
def bare_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An empty database of the module's own, without clockmill's tables."""
    for url in empty_database(request.param, tmp_path_factory.mktemp("database")):
        engine = open_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture(scope="session", params=KINDS)
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with clockmill's tables: migrating one for each test would cost more than the tests."""
    for url in empty_database(request.param, tmp_path_factory.mktemp("upgraded")):
        engine = open_engine(url)
        migrate.upgrade(engine)
        engine.dispose()
        yield url


@pytest.fixture
def database_url(upgraded: str, tmp_path: Path) -> str:
    """A database with clockmill's tables, and nothing in them."""
    url = make_url(upgraded)
    if url.get_backend_name() == "sqlite":
        assert url.database
        return f"sqlite:///{shutil.copy(url.database, tmp_path / 'test.db')}"
    engine = open_engine(upgraded)
    with write(engine) as connection:
        _empty(connection)
    engine.dispose()
    return upgraded


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def _empty(connection: Connection) -> None:
    found = inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    for view in found.get_view_names():
        connection.exec_driver_sql(f"DROP VIEW {quote(view)}")
    for table in found.get_table_names():
        if table in metadata.tables:
            connection.execute(metadata.tables[table].delete())
        elif table != "alembic_version":
            connection.exec_driver_sql(f"DROP TABLE {quote(table)}")


# -- Redis ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_folder() -> Iterator[Path]:
    """Where the tests' own Redis server lives: a short path, so that its socket stays in it."""
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        try:
            client = redis_server.connect("embedded", Path(folder))
        except RedisUnavailable as e:
            missing(f"no Redis server can be started: {e}")
        assert client is not None
        yield Path(folder)
        client.close()


@pytest.fixture
def redis_url(redis_folder: Path) -> str:
    """An empty Redis server of the tests' own, on a socket."""
    url = redis_server.open_embedded(redis_folder)
    client = redis_server.connect(url, redis_folder)
    assert client is not None
    client.flushall()
    client.close()
    return url


# -- data -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real and recorded data that CLOCKMILL_DATA names."""
    folder = Path(os.environ.get("CLOCKMILL_DATA", "absent"))
    if not folder.is_dir():
        missing("CLOCKMILL_DATA names no folder of data")
    return folder


# -- programs ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def analyze() -> str:
    """The program that says when a calendar expression of systemd comes."""
    return shutil.which("systemd-analyze") or missing("no systemd-analyze here; apt-get install systemd")
