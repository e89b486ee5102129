"""clockmill db: the tables of the ledger."""

import click

from clockmill.cli.show import json_option, mill, print_json
from db import migrate
from db.engine import masked, open_engine


@click.group("db")
def db_command() -> None:
    """Upgrade and check the database."""


@db_command.command("upgrade", epilog="Example: clockmill db upgrade")
def upgrade() -> None:
    """Bring the tables to this version; safe to run from several hosts at once."""
    engine = open_engine(mill().config.database_url)
    changed = migrate.upgrade(engine)
    click.echo(f"{masked(engine.url)}: {'upgraded to' if changed else 'is at'} revision {migrate.HEAD}", err=True)


@db_command.command("check", epilog="Example: clockmill db check --json")
@json_option
def check(as_json: bool) -> None:
    """Say which revision the database has, and fail unless it is this version's."""
    engine = open_engine(mill().config.database_url)
    have = migrate.current(engine)
    if as_json:
        print_json({"url": masked(engine.url), "revision": have, "needs": migrate.HEAD})
    migrate.check(engine)
    if not as_json:
        click.echo(f"{masked(engine.url)} is at revision {have}")
