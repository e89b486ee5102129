"""Brings the ledger's tables to this version. Alembic is loaded only when there is something to do."""

from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from db import engine as transactions
from db.errors import SchemaError

#: The revision this version of clockmill needs; a test holds it equal to the newest file in migrations/versions.
HEAD = "0007"


def current(engine: Engine) -> str | None:
    """The revision the database has; None for one without clockmill's tables."""
    # An upgraded database answers at once; only one that does not is looked through.
    with suppress(DBAPIError), engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    with transactions.read(engine) as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def check(engine: Engine) -> None:
    """Raises SchemaError, saying what to do, when the tables are not those of this version."""
    have = current(engine)
    if have is None:
        raise SchemaError("the database has no clockmill tables yet; run: clockmill db upgrade")
    if have < HEAD:
        raise SchemaError(f"the database has revision {have}, this clockmill needs {HEAD}; run: clockmill db upgrade")
    _refuse_newer(have)


def _refuse_newer(have: str) -> None:
    """Every migration leaves the version before it working: in a rolling restart its processes stay beside new ones."""
    if int(have) > int(HEAD) + 1:
        raise SchemaError(f"the database has revision {have}, newer than this clockmill ({HEAD}); upgrade clockmill")


def upgrade(engine: Engine) -> bool:
    """Upgrades to HEAD; False when it was there already. Processes that start together wait for each other."""
    if _serves(current(engine)):
        return False
    with transactions.write(engine) as connection:
        _lock(connection)
        have = _revision(connection)
        if _serves(have):
            return False
        if have is None:
            _refuse_foreign_tables(connection)
        _run_alembic(connection)
        return True


def _serves(have: str | None) -> bool:
    """Whether there is nothing to upgrade. Raises SchemaError for tables that are too new."""
    if have is None or have < HEAD:
        return False
    _refuse_newer(have)
    return True


def _lock(connection: Connection) -> None:
    # SQLite has its lock from BEGIN IMMEDIATE. MySQL ends a transaction at every DDL, so a named lock is held instead.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('clockmill.upgrade'))"))
    elif connection.dialect.name in ("mysql", "mariadb"):
        connection.execute(text("SELECT GET_LOCK('clockmill.upgrade', 60)"))


def _refuse_foreign_tables(connection: Connection) -> None:
    from db.tables import metadata

    taken = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if taken:
        raise SchemaError(
            f'the database already has a table "{taken[0]}" that clockmill did not make; '
            "give clockmill a database (or PostgreSQL schema) of its own in [database] url"
        )


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
