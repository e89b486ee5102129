"""The three kinds of database. A server that is not there skips at home and fails where CI is set."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from db.engine import open_engine

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1/test",
    "mariadb": "mysql+pymysql://root@127.0.0.1/test",
}


@pytest.fixture(scope="module", params=["sqlite", *SERVERS])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database of its own for the module's tests."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database') / Path('test.db')}"
        return
    url = os.environ.get(f"CLOCKMILL_TEST_{request.param.upper()}", SERVERS[request.param])
    name = f"clockmill_test_{uuid.uuid4().hex[:12]}"
    _administer(url, f"CREATE DATABASE {name}")
    yield make_url(url).set(database=name).render_as_string(hide_password=False)
    _administer(url, f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def _administer(url: str, statement: str) -> None:
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            connection.exec_driver_sql(statement)
    except OperationalError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no server at {url}: {e.orig}")
    finally:
        server.dispose()
