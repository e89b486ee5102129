"""clockmill init: a configuration to start from."""

from pathlib import Path
from typing import Any

import click

from clockmill.config import home_of
from clockmill.config_example import render
from clockmill.errors import UsageError


@click.command(
    "init", epilog="Example: clockmill init --db postgresql+psycopg://app@localhost/app --redis redis://localhost"
)
@click.option("--db", metavar="URL", help="[database] url.")
@click.option("--redis", metavar="URL", help="[redis] url.")
@click.option("--print", "only_print", is_flag=True, help="Print it instead of writing clockmill.toml.")
def init_command(db: str | None, redis: str | None, only_print: bool) -> None:
    """Write a commented clockmill.toml here; a file that is there stays."""
    values: dict[str, dict[str, Any]] = {}
    if db:
        values["database"] = {"url": db}
    if redis:
        values["redis"] = {"url": redis}
    text = render(values)
    if only_print:
        click.echo(text, nl=False)
        return
    home = click.get_current_context().find_root().obj
    path = Path(home) if home else home_of() / "clockmill.toml"
    if path.exists():
        raise UsageError(f"{path} is there already; it is left as it is (clockmill init --print shows a fresh one)")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"wrote {path}; next: clockmill config check, clockmill up", err=True)
