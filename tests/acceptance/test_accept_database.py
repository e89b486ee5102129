"""The ledger's tables: made once, whoever comes first, and never in the place of somebody else's."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import inspect, text

from db.engine import masked

NO_TABLES = "the database has no clockmill tables yet; run: clockmill db upgrade"


def configure(clockmill, database):
    clockmill.configure(f'[database]\nurl = "{database.url.render_as_string(hide_password=False)}"')


@pytest.mark.parametrize("bare_database", ["postgresql", "mariadb"], indirect=True)
def test_a_server_is_upgraded_by_its_operator_only(clockmill, bare_database):
    configure(clockmill, bare_database)
    assert NO_TABLES in clockmill("run", "counters", code=1).err
    assert inspect(bare_database).get_table_names() == []


def test_two_processes_may_make_the_tables_at_once(clockmill, bare_database):
    configure(clockmill, bare_database)
    both = [clockmill.start("db", "upgrade") for _ in range(2)]
    assert any("upgraded to revision" in one.end().err for one in both)
    assert clockmill("db", "check", "--json").json["url"] == masked(bare_database.url)
    with bare_database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_many_first_commands_at_once_make_one_sqlite_file(clockmill):
    clockmill.configure('[jobs.mine]\ncommand = ["true"]\noverlap = "allow"')
    for one in [clockmill.start("run", "mine") for _ in range(4)]:
        one.end()
    assert [run["state"] for run in clockmill.runs("mine")] == ["succeeded"] * 4


@pytest.mark.parametrize("table", ["jobs", "runs", "outputs"])
def test_a_database_with_such_a_table_of_somebody_else_is_refused_and_left_alone(clockmill, table):
    clockmill.database.parent.mkdir()
    with closing(sqlite3.connect(clockmill.database)) as connection:
        connection.execute(f"CREATE TABLE {table} (mine TEXT)")
        connection.execute(f"INSERT INTO {table} VALUES ('kept')")
        connection.commit()
    refused = clockmill("run", "counters", code=1)
    assert f'already has a table "{table}" that clockmill did not make' in refused.err
    assert [row["name"] for row in clockmill.query("SELECT name FROM sqlite_master WHERE type = 'table'")] == [table]
    assert [row["mine"] for row in clockmill.query(f"SELECT * FROM {table}")] == ["kept"]


def test_an_output_never_takes_the_place_of_a_table_of_the_application(clockmill):
    clockmill("jobs", "list")
    with closing(sqlite3.connect(clockmill.database)) as connection:
        connection.execute("CREATE TABLE counters (mine TEXT)")
        connection.commit()
    clockmill("run", "counters", code=1)
    assert '"counters", which clockmill did not make' in clockmill.runs("counters")[0]["reason"]
    assert clockmill.query("SELECT mine FROM counters") == []


def test_a_newer_database_is_not_touched_by_an_older_clockmill(clockmill):
    clockmill("jobs", "list")
    with closing(sqlite3.connect(clockmill.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert "newer than this clockmill" in clockmill("run", "counters", code=1).err
