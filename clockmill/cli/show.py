"""What commands print: tables for people, one JSON object on one line for programs, times as both read them."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    # Imported when used: a command that needs no database must not wait for SQLAlchemy.
    from clockmill.job_spec import JobSpec
    from clockmill.mill import Mill
    from clockmill.schedule import Schedule

#: Beyond these there are no slots, and soon no days that Python knows.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on one line.")


def mill() -> "Mill":
    """The mill of this command's configuration."""
    from clockmill.mill import Mill

    return Mill.open(click.get_current_context().find_root().obj)


def every_job(held: "Mill") -> "list[tuple[JobSpec, Schedule | None]]":
    """All jobs with their schedules, for another keeper of time. Raises ConfigError when one is broken: it would be
    left out there, and nobody told."""
    from clockmill.errors import ConfigError

    if held.registry.broken:
        raise ConfigError("; ".join(broken_jobs(held)))
    return [(spec, held.schedule(spec)) for spec in held.registry.jobs.values()]


def broken_jobs(held: "Mill") -> list[str]:
    """A sentence for each job that cannot run."""
    return [f"job {name} is broken: {reason}" for name, reason in held.registry.broken.items()]


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """Aligned columns; `empty` says what to do when there are no rows."""
    if not rows:
        click.echo(empty, err=True)
        return
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(header), *(len(row[i]) for row in cells)) for i, header in enumerate(headers)]
    for line in ([header.upper() for header in headers], *cells):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).split())


def stamp(us: int | None) -> str | None:
    """Microseconds as ISO UTC text, for JSON."""
    from clockmill.slots import instant, iso

    return None if us is None else iso(instant(us))


def ago(us: int | None, now: datetime) -> str:
    """Microseconds as people tell it: "3 min ago", "in 2 h"."""
    if us is None:
        return "-"
    from clockmill.slots import instant

    distance = now - instant(us)
    words = span(abs(distance))
    return f"{words} ago" if distance >= timedelta(0) else f"in {words}"


def span(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def local(at: datetime | None, zone: str) -> str:
    """An instant in a zone, as a person there reads it."""
    if at is None:
        return "never"
    from zoneinfo import ZoneInfo

    # East of Greenwich the last hours of 9999 are in a year that Python does not know.
    with suppress(OverflowError):
        at = at.astimezone(ZoneInfo(zone))
    return at.strftime("%a %Y-%m-%d %H:%M:%S %Z")


def print_next(schedule: "Schedule", after: datetime, count: int, zone: str, as_json: bool) -> None:
    slots: list[datetime] = []
    while len(slots) < count and (following := schedule.next(after)) is not None:
        slots.append(following)
        after = following
    if as_json:
        print_json({"next": [slot.isoformat() for slot in slots]})
        return
    for slot in slots:
        click.echo(f"{local(slot, zone)}   {slot.isoformat().replace('+00:00', 'Z')}")
    if not slots:
        click.echo("when the host starts" if schedule.is_reboot else "never")


def instant_option(text: str | None, key: str) -> datetime | None:
    """An instant as it was given on the command line: ISO 8601, UTC when it names no offset."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f'{key}: "{text}" is not an instant; write for instance 2026-03-08T07:00:00Z') from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not FIRST <= at <= LAST:
        raise click.UsageError(f'{key}: "{text}" lies outside of the years 1970 to 9999')
    return at


class Progress:
    """A bar on a terminal, a line for every tenth elsewhere; on standard error."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.tty = sys.stderr.isatty()
        self.tenth = 0
        self.shown = ""

    def __call__(self, share: float, note: str = "") -> None:
        if self.tty:
            filled = round(share * 30)
            line = f"\r{self.what} [{'#' * filled}{'.' * (30 - filled)}] {share:4.0%} {note}"
            click.echo(line.ljust(len(self.shown)), nl=False, err=True)
            self.shown = line
        elif int(share * 10) > self.tenth:
            self.tenth = int(share * 10)
            click.echo(f"{self.what} {self.tenth * 10} % {note}".rstrip(), err=True)

    def done(self) -> None:
        if self.tty and self.shown:
            click.echo("\r" + " " * len(self.shown) + "\r", nl=False, err=True)


def counted(progress: Progress, total: int | None) -> Callable[[int], None]:
    """The same bar for something that counts rows."""
    return lambda rows: progress(min(1.0, rows / total) if total else 0.0, f"{rows:,} rows")
