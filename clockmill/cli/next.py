"""clockmill next and explain: what an expression means, without any job or database."""

import re
from datetime import UTC, datetime

import click

from clockmill.cli.show import instant_option, json_option, mill, print_next
from clockmill.errors import ScheduleError, UsageError
from clockmill.local_zone import local_timezone
from clockmill.schedule import Schedule, parse

#: One word that a job could be called; anything else that cannot be read is a bad expression, and told at once.
_JOB_LIKE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@click.command("next", epilog='Example: clockmill next "30 2 * * *" -n 3 --tz Europe/Berlin --from 2026-03-28T00:00')
@click.argument("expr")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=5, show_default=True, help="So many.")
@click.option("--from", "start", metavar="TIME", help="Instead of now.")
@click.option("--tz", metavar="ZONE", help="IANA zone; by default the system's.")
@click.option(
    "--dst-gap",
    type=click.Choice(["run", "skip"]),
    default="run",
    show_default=True,
    help="A fixed time that the clock jumps over.",
)
@click.option(
    "--dst-overlap",
    type=click.Choice(["first", "last", "both"]),
    default="first",
    show_default=True,
    help="A fixed time that comes twice.",
)
@json_option
def next_command(
    expr: str, count: int, start: str | None, tz: str | None, dst_gap: str, dst_overlap: str, as_json: bool
) -> None:
    """When the crontab expression EXPR fires next."""
    zone = tz or local_timezone()
    schedule = parse(expr, timezone=zone, dst_gap=dst_gap, dst_overlap=dst_overlap)
    print_next(schedule, instant_option(start, "--from") or datetime.now(UTC), count, schedule.timezone, as_json)


@click.command("explain", epilog='Example: clockmill explain "0 9 * * mon-fri"')
@click.argument("what")
@click.option("--tz", metavar="ZONE", help="IANA zone; by default the system's.")
def explain_command(what: str, tz: str | None) -> None:
    """What WHAT, a crontab expression or the name of a job, means in plain English."""
    click.echo(_schedule(what, tz or local_timezone()).explain())


def _schedule(what: str, zone: str) -> Schedule:
    try:
        return parse(what, timezone=zone)
    except ScheduleError:
        if not _JOB_LIKE.fullmatch(what):
            raise
    held = mill()
    schedule = held.schedule(held.registry.get(what))
    if schedule is None:
        raise UsageError(f"job {what} has no schedule; it runs only when asked")
    return schedule
