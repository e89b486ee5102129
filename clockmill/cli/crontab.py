"""clockmill crontab: the schedule for system cron, and system cron's for the scheduler."""

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clockmill.cli import exits
from clockmill.cli.show import every_job, json_option, mill, print_json
from clockmill.crontab_file import CrontabFile, Problem, read_crontab
from clockmill.errors import UsageError

if TYPE_CHECKING:
    from clockmill.mill import Mill

system_option = click.option(
    "--system", is_flag=True, help="A user stands before each command, as in /etc/crontab and /etc/cron.d."
)


@click.group("crontab")
def crontab_command() -> None:
    """To and from the lines of system cron."""


@crontab_command.command(
    "render", epilog="Example: clockmill crontab render --bin $(command -v clockmill) > my.crontab"
)
@click.option("--bin", metavar="PATH", help="The installed command; by default that of crontab.example.")
@click.option("--home", metavar="PATH", help="CLOCKMILL_HOME of the lines; by default this one.")
@click.option("--example", is_flag=True, help="The paths of the shipped crontab.example.")
def render(bin: str | None, home: str | None, example: bool) -> None:
    """Print a crontab that runs every scheduled job's slots."""
    from clockmill import crontab

    held = mill()
    paths = dict(crontab.defaults())
    if not example:
        paths = {"bin": bin or crontab.BIN, "home": home or str(held.config.home)}
        paths["log"] = f"{paths['home']}/var/cron.log"
        if not home:
            # Cron's shell opens the log before clockmill could make the folder, and would run nothing.
            held.config.var.mkdir(parents=True, exist_ok=True, mode=0o700)
    jobs = every_job(held)
    click.echo(crontab.render(jobs, **paths), nl=False)


@crontab_command.command("check", epilog="Example: clockmill crontab check crontab.example")
@click.argument("file")
@system_option
@json_option
def check(file: str, system: bool, as_json: bool) -> None:
    """Read FILE (or - for standard input) and run nothing; exit code 2 when cron could not use it."""
    found = read(file, system)
    if as_json:
        said = [{"line": p.line, "says": p.sentence, "mild": p not in found.unusable} for p in found.problems]
        print_json({"file": file, "jobs": len(found.entries), "problems": said})
    else:
        complain(file, found.problems, found.unusable)
        click.echo(f"{file}: {len(found.entries)} jobs, {len(found.unusable) or 'nothing'} wrong", err=True)
    sys.exit(exits.USAGE if found.unusable else 0)


def read(file: str, system: bool) -> CrontabFile:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as e:
        raise UsageError(f"{file}: {e.strerror}") from None
    of_system = system or str(Path(file).absolute()).startswith(("/etc/crontab", "/etc/cron.d/"))
    return read_crontab(data, system=of_system, now=datetime.now(UTC))


def complain(file: str, problems: Sequence[Problem], grave: Sequence[Problem]) -> None:
    for problem in problems:
        click.echo(f"{file}: {'' if problem in grave else 'note: '}{problem}", err=True)


@crontab_command.command("import", epilog="Example: crontab -l | clockmill crontab import - --write")
@click.argument("file")
@system_option
@click.option("--write", is_flag=True, help="Append the jobs to the configuration instead of printing them.")
def import_(file: str, system: bool, write: bool) -> None:
    """Print FILE's lines (or - for standard input) as command jobs for clockmill.toml."""
    found = read(file, system)
    complain(file, found.problems, found.wrong)
    if found.wrong:
        raise UsageError(f"{file}: {len(found.wrong)} lines cannot be read; nothing was imported")
    # Imported only now: a file that is wrong is told of at once.
    from clockmill.crontab_import import append, to_toml

    held = mill()
    text = to_toml(found, file if file != "-" else "a crontab", {*held.registry.jobs, *held.registry.broken})
    if not write:
        click.echo(text, nl=False)
        return
    path = held.config.file or held.config.home / "clockmill.toml"
    append(held.config, path, text)
    click.echo(f"{path}: {len(found.entries)} jobs appended; take them out of cron before the scheduler runs", err=True)


@crontab_command.command("install", epilog="Example: clockmill crontab install --yes")
@click.option("--bin", metavar="PATH", help="The installed command; by default this one.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def install(bin: str | None, yes: bool) -> None:
    """Put every scheduled job's line into your crontab; only this home's marked block is replaced."""
    from clockmill import crontab

    held = mill()
    home = str(held.config.home)
    command = bin or shutil.which(sys.argv[0]) or sys.argv[0]
    jobs = every_job(held)
    lines = crontab.block(jobs, bin=str(Path(command).absolute()), home=home, log=f"{home}/var/cron.log")
    # Cron's shell opens the log before clockmill could make its folder.
    held.config.var.mkdir(parents=True, exist_ok=True, mode=0o700)
    change(held, lines, yes)


@crontab_command.command("uninstall", epilog="Example: clockmill crontab uninstall")
@click.option("--yes", is_flag=True, help="Do not ask.")
def uninstall(yes: bool) -> None:
    """Take this home's marked block out of your crontab."""
    change(mill(), [], yes)


def change(held: "Mill", lines: Sequence[str], yes: bool) -> None:
    """Shows what changes, asks, keeps what was, and changes it."""
    from clockmill import crontab_install

    old = crontab_install.current()
    new = crontab_install.with_block(old, str(held.config.home), lines)
    shown = crontab_install.difference(old, new)
    if not shown:
        click.echo("the crontab is so already", err=True)
        return
    click.echo(shown, nl=False)
    if not yes and not click.confirm("change the crontab so?", err=True):
        raise UsageError("the crontab stays as it is")
    kept = crontab_install.keep(old, held.config.var, held.now())
    crontab_install.put(new)
    click.echo(f"done; to undo it: crontab {kept}" if old else "done; to undo it: crontab -r", err=True)
