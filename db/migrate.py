"""Brings the ledger's tables to this version. Alembic is loaded only when there is something to do."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from db import engine as transactions
from db.errors import SchemaError

#: The revision this version of clockmill needs; a test holds it equal to the newest file in migrations/versions.
HEAD = "0001"


def current(engine: Engine) -> str | None:
    """The revision the database has; None for one without clockmill's tables."""
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
    if have > HEAD:
        raise SchemaError(f"the database has revision {have}, newer than this clockmill ({HEAD}); upgrade clockmill")


def upgrade(engine: Engine) -> bool:
    """Upgrades to HEAD; False when it was there already. Processes that start together wait for each other."""
    if current(engine) == HEAD:
        return False
    with transactions.write(engine) as connection:
        _lock(connection)
        have = _revision(connection)
        if have == HEAD:
            return False
        if have is None:
            _refuse_foreign_tables(connection)
        else:
            _refuse_newer(have)
        _run_alembic(connection)
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
