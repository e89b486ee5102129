"""clockmill config: what is configured, and where it came from."""

import re
from typing import TYPE_CHECKING, Any

import click

from clockmill.cli.show import json_option, mill, print_json, table

if TYPE_CHECKING:
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
    refuse_schedules()
    held = mill()
    check_all(held)
    where = held.config.file or "defaults (no clockmill.toml)"
    click.echo(f"{where}: {len(held.registry.jobs)} jobs, nothing wrong")


def refuse_schedules() -> None:
    """Raises ScheduleError when one cannot be read: before anything that takes time to import."""
    from clockmill import config as configuration
    from clockmill.schedule_check import wrong_schedules

    wrong = list(wrong_schedules(configuration.load(click.get_current_context().find_root().obj)))
    for error in wrong[:-1]:
        click.echo(f"error: {error}", err=True)
    if wrong:
        raise wrong[-1]


def check_all(held: "Mill") -> None:
    """Raises the first ConfigError."""
    from clockmill.errors import ConfigError
    from clockmill.exchange.plan import broker_url, hands, topology_of
    from db.engine import open_engine

    broker_url(held)
    hands(held)
    topology_of(held)
    open_engine(held.config.database_url)
    for name, reason in held.registry.broken.items():
        raise ConfigError(f"job {name} is broken: {reason}")
    assert held.sources is not None
