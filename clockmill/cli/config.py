"""clockmill config: what is configured, and where it came from."""

import re
from typing import Any

import click

from clockmill.cli.show import json_option, mill, print_json, table
from clockmill.mill import Mill

#: Keys whose values are never shown.
SECRET = re.compile(r"password|secret|token|api_?key", re.IGNORECASE)


@click.group("config")
def config_command() -> None:
    """Show and check the configuration."""


@config_command.command("show", epilog="Example: clockmill config show --origin")
@click.option("--origin", is_flag=True, help="Say of each value where it came from.")
@json_option
def show(origin: bool, as_json: bool) -> None:
    """Every setting in force; secrets are masked."""
    found = [(key, hidden(key, value), where) for key, value, where in mill().config.flat()]
    if as_json:
        print_json({"settings": {key: {"value": value, "origin": where} for key, value, where in found}})
        return
    rows = [(key, value, where) if origin else (key, value) for key, value, where in found]
    table(("key", "value", "origin") if origin else ("key", "value"), rows, "")


def hidden(key: str, value: Any) -> Any:
    """The value as it may be shown."""
    if isinstance(value, dict):
        return {k: hidden(k, v) for k, v in value.items()}
    if isinstance(value, list):
        return [hidden(key, v) for v in value]
    if SECRET.search(key):
        return "***"
    return re.sub(r"(://[^/@:]*:)[^@]*@", r"\1***@", value) if isinstance(value, str) else value


@config_command.command("check", epilog="Example: clockmill --config new.toml config check")
def check() -> None:
    """Read everything and start nothing: settings, jobs, schedules."""
    held = mill()
    check_all(held)
    where = held.config.file or "defaults (no clockmill.toml)"
    click.echo(f"{where}: {len(held.registry.jobs)} jobs, nothing wrong")


def check_all(held: Mill) -> None:
    """Raises the first ConfigError or ScheduleError."""
    from clockmill.errors import ConfigError
    from db.engine import open_engine

    open_engine(held.config.database_url)
    for spec in held.registry.jobs.values():
        held.schedule(spec)
    for name, reason in held.registry.broken.items():
        raise ConfigError(f"job {name} is broken: {reason}")
    assert held.sources is not None
