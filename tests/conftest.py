"""What tests stand on. A service that is missing skips its tests at home, in one clear line, and fails them in CI."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from clockmill import doors
from clockmill.errors import BrokerUnavailable
from clockmill.exchange.broker import connection, opened
from clockmill.exchange.topology import topology
from clockmill.executors import Order
from clockmill.mill import Mill
from clockmill.perform import perform
from clockmill.report import report_of
from clockmill.slots import micros
from db import migrate, redis_server
from db.engine import open_engine, write
from db.errors import RedisUnavailable
from db.run import Claim, Terms
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file stay in one process, and so do all that use the one broker."""
    for item in items:
        group = "broker" if "virtual_host" in getattr(item, "fixturenames", ()) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


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


# -- runs -------------------------------------------------------------------------------------------------------------


def run_here(mill: Mill, job: str, **params: Any) -> Any:
    """The report of a run carried out by this process; the reason if it failed."""
    spec, now = mill.registry.get(job), mill.now()
    told: dict[str, Any] = {}
    run_id = doors.manual_run(mill, spec, params, forced=True, now=now)
    claim = mill.ledger.claim(run_id, Terms(), micros(now))
    assert isinstance(claim, Claim)
    order = Order(run_id, job, claim.attempt, claim.fence, "log", 60, asdict(claim))
    return report_of(mill.ledger.run(run_id)) if perform(mill, order, told.update) == 0 else told["reason"]


@pytest.fixture
def run() -> Callable[..., Any]:
    return run_here


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
def node() -> str:
    """Node.js, with npm beside it."""
    found = shutil.which("node") if shutil.which("npm") else None
    return found or missing("no node and npm here; apt-get install nodejs npm")


@pytest.fixture(scope="session")
def analyze() -> str:
    """The program that says when a calendar expression of systemd comes."""
    return shutil.which("systemd-analyze") or missing("no systemd-analyze here; apt-get install systemd")


# -- RabbitMQ ---------------------------------------------------------------------------------------------------------

#: Handlers of the tests; their queues are deleted after each.
HANDLERS = ("note", "count", "stern", "batch", "slow")


@pytest.fixture(scope="session")
def virtual_host() -> Iterator[str]:
    """The URL of a virtual host of the tests' own, or, where none can be made, of the default one, alone in it."""
    url = os.environ.get("CLOCKMILL_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
    try:
        connection(url, "tests").release()
    except BrokerUnavailable as e:
        missing(f"no RabbitMQ: {e}")
    name = f"clockmill_test_{uuid.uuid4().hex[:12]}"
    if _control("add_vhost", name) and _control("set_permissions", "-p", name, "guest", ".*", ".*", ".*"):
        try:
            yield f"{url}/{name}"
        finally:
            _control("delete_vhost", name)
        return
    with (Path(tempfile.gettempdir()) / "clockmill-tests.rabbitmq").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        _delete_all(url)
        yield url


def _control(*words: str) -> bool:
    program = shutil.which("rabbitmqctl")
    return bool(program) and subprocess.run([program, *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def broker_url(virtual_host: str) -> Iterator[str]:
    """A broker without any of clockmill's exchanges and queues."""
    yield virtual_host
    _delete_all(virtual_host)


def _delete_all(url: str) -> None:
    offers = [(), ("gpu",), ("licence",)]
    handlers = [(name, ["#"], False) for name in HANDLERS]
    triggers = [(name, ["#"]) for name in ("bill", "recount")]
    everything = topology(handlers, triggers, ["heavy"], offers, ["gpu", "licence"])
    with opened(url, "tests") as made:
        channel = made.channel()
        for queue in everything.queues:
            channel.queue_delete(queue.name)
        for exchange in everything.exchanges:
            channel.exchange_delete(exchange.name)
