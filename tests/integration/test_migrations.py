"""The tables as the migrations make them, on each of the three databases."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from db import migrate
from db.engine import write
from db.errors import SchemaError
from db.tables import metadata


def test_the_migrations_make_the_tables_of_the_code(database):
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_an_upgraded_database_is_left_as_it_is(database):
    migrate.check(database)
    assert migrate.current(database) == migrate.HEAD
    assert not migrate.upgrade(database)


@pytest.fixture
def set_back(database):
    """Says that the database has another revision, and takes it back."""

    def say(revision):
        with write(database) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})

    yield say
    say(migrate.HEAD)


def test_the_version_before_the_newest_migration_works_on(database, set_back):
    following = f"{int(migrate.HEAD) + 1:04}"
    set_back(following)
    migrate.check(database)
    assert not migrate.upgrade(database)
    assert migrate.current(database) == following


@pytest.mark.parametrize(("revision", "remedy"), [("0000", "run: clockmill db upgrade"), ("9999", "upgrade clockmill")])
def test_a_database_of_another_version_is_refused_with_the_remedy(database, set_back, revision, remedy):
    set_back(revision)
    with pytest.raises(SchemaError, match=remedy):
        migrate.check(database)
