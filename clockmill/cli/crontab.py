"""clockmill crontab: the schedule for system cron."""

import click

from clockmill import crontab
from clockmill.cli.show import mill


@click.group("crontab")
def crontab_command() -> None:
    """The schedule as lines for system cron."""


@crontab_command.command(
    "render", epilog="Example: clockmill crontab render --bin $(command -v clockmill) > my.crontab"
)
@click.option("--bin", metavar="PATH", default=crontab.BIN, show_default=True, help="The installed command.")
@click.option("--home", metavar="PATH", help="CLOCKMILL_HOME of the lines; by default this one.")
@click.option("--example", is_flag=True, help="The paths of the shipped crontab.example.")
def render(bin: str, home: str | None, example: bool) -> None:
    """Print a crontab that runs every scheduled job's slots."""
    held = mill()
    paths = dict(crontab.defaults())
    if not example:
        paths = {"bin": bin, "home": home or str(held.config.home)}
        paths["log"] = f"{paths['home']}/var/cron.log"
    jobs = [(spec, held.schedule(spec)) for spec in held.registry.jobs.values()]
    click.echo(crontab.render(jobs, **paths), nl=False)
