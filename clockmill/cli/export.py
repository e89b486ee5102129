"""clockmill export: the schedule for other keepers of time."""

import shutil
import sys
from pathlib import Path

import click

from clockmill.cli.show import every_job, mill


@click.group("export")
def export_command() -> None:
    """The schedule for other keepers of time."""


@export_command.command("systemd", epilog="Example: clockmill export systemd --out ~/.config/systemd/user")
@click.option("--out", metavar="DIR", help="Write the files there instead of printing them.")
@click.option("--bin", metavar="PATH", help="The installed command; by default this one.")
@click.option("--home", metavar="PATH", help="CLOCKMILL_HOME of the units; by default this one.")
def systemd(out: str | None, bin: str | None, home: str | None) -> None:
    """A timer and a service for each scheduled job; each run is the job's slot, as with a cron line."""
    from clockmill.systemd import units

    held = mill()
    jobs = every_job(held)
    command = bin or shutil.which(sys.argv[0]) or sys.argv[0]
    found = list(units(jobs, bin=command, home=home or str(held.config.home), now=held.now()))
    for name, text in found:
        if out is None:
            click.echo(f"# {name}\n{text}")
        else:
            Path(out).mkdir(parents=True, exist_ok=True)
            Path(out, name).write_text(text, encoding="utf-8")
    if out is not None:
        click.echo(f"wrote {len(found)} files into {out}; next: systemctl enable --now clockmill-JOB.timer", err=True)
