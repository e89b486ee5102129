"""Whether the database left, or was asked for something that it does not know: the one is nobody's fault."""

import pytest
from sqlalchemy import text

from db.engine import open_engine, read, write
from db.errors import DatabaseUnavailable, LedgerAway

CLOSED = {
    "sqlite": "PRAGMA max_page_count = 1",
    "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
    "mysql": "KILL CONNECTION_ID()",
}


def leave(connection):
    """The next thing that is asked of the connection fails as it does when the database is full or goes away."""
    kind = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
    connection.exec_driver_sql(CLOSED[kind])
    connection.execute(text("CREATE TABLE refused (n INTEGER)"))
    connection.execute(text("INSERT INTO refused VALUES (1)"))


def test_a_database_that_leaves_is_told_from_a_question_that_is_wrong(database):
    with pytest.raises(LedgerAway), write(database) as connection:
        leave(connection)
    with pytest.raises(Exception, match="nowhere") as wrong, read(database) as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    assert not isinstance(wrong.value, LedgerAway)


def test_a_database_that_is_not_there_has_left(database, tmp_path):
    # A folder is no file of SQLite's, and nobody listens at port 1.
    gone = {"database": str(tmp_path)} if database.dialect.name == "sqlite" else {"port": 1}
    engine = open_engine(database.url.set(**gone).render_as_string(hide_password=False))
    with pytest.raises(LedgerAway), read(engine):
        pass


def test_another_database_than_clockmills_own_may_leave_without_it(database):
    engine = open_engine(database.url.render_as_string(hide_password=False), "[sources.likes] url")
    with pytest.raises(DatabaseUnavailable, match="likes") as left, write(engine) as connection:
        leave(connection)
    assert not isinstance(left.value, LedgerAway)
    engine.dispose()
