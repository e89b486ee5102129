"""clockmill simulate: what the scheduler would do between two times."""

import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from clockmill.cli.show import broken_jobs, instant_option, json_option, mill, print_json, span, table
from clockmill.durations import format_duration, parse_duration
from clockmill.errors import UsageError
from clockmill.history import usual_durations
from clockmill.mill import Mill
from clockmill.simulate import LEGEND, Foretold, Simulation, Window, timeline
from clockmill.slots import iso

#: How long a job is taken to run that never ran and is not told about.
ASSUMED = timedelta(minutes=1)
#: The table stops after so many rows; --json prints all.
MOST_LINES = 100


@click.command(
    "simulate",
    epilog="Example: clockmill simulate --from 2026-03-28T22:00Z --to 2026-03-29T04:00Z "
    "--down 2026-03-29T00:10Z..2026-03-29T01:20Z --lasts counters=7m",
)
@click.option("--from", "start", metavar="TIME", required=True, help="The first slot that counts, in UTC.")
@click.option("--to", "end", metavar="TIME", required=True, help="The last one.")
@click.option("--down", "windows", multiple=True, metavar="TIME..TIME", help="The scheduler is away; may be repeated.")
@click.option("--job", "names", multiple=True, help="Only this job; may be repeated.")
@click.option("--lasts", "pairs", multiple=True, metavar="JOB=LENGTH", help="Instead of how long it usually takes.")
@click.option("--workers", type=click.IntRange(1, 256), help="Runs at once; by default as configured.")
@json_option
def simulate_command(
    start: str,
    end: str,
    windows: tuple[str, ...],
    names: tuple[str, ...],
    pairs: tuple[str, ...],
    workers: int | None,
    as_json: bool,
) -> None:
    """Every run, and every slot without one, that a virtual clock brings; nothing is run and nothing recorded."""
    begin, until = instant_option(start, "--from"), instant_option(end, "--to")
    if begin is None or until is None or begin >= until:
        raise UsageError(f"--from {start} must lie before --to {end}")
    held = mill()
    down = [read_window(text) for text in windows]
    lasts = dict.fromkeys(held.registry.jobs, ASSUMED)
    lasts |= usual_durations(held.ledger, held.registry.jobs) | read_lengths(held, pairs)
    specs = [held.registry.get(name) for name in names or held.registry.jobs]
    jobs = [(spec, schedule) for spec in specs if (schedule := held.schedule(spec))]
    for sentence in broken_jobs(held):
        click.echo(f"left out: {sentence}", err=True)
    number = workers or held.config.table("scheduler")["workers"]
    rows = Simulation(jobs, lasts.__getitem__, number, begin, until, down).run()
    if as_json:
        print_json({"from": iso(begin), "to": iso(until), "down": [[iso(a), iso(b)] for a, b in down],
                    "runs": [as_object(row) for row in rows]})  # fmt: skip
        return
    lengths = ", ".join(f"{spec.name} {format_duration(lasts[spec.name])}" for spec, _ in jobs)
    click.echo(f"taken to last: {lengths} (--lasts JOB=LENGTH)", err=True)
    show(rows, begin, until, down)


def read_window(text: str) -> Window:
    first, dots, last = text.partition("..")
    begin, end = instant_option(first, "--down"), instant_option(last or None, "--down")
    if not dots or begin is None or end is None or begin >= end:
        raise UsageError(f'--down "{text}": expected TIME..TIME, the earlier one first')
    return begin, end


def read_lengths(held: Mill, pairs: Sequence[str]) -> dict[str, timedelta]:
    lengths = {}
    for pair in pairs:
        name, equals, length = pair.partition("=")
        if not equals:
            raise UsageError(f'--lasts "{pair}": expected JOB=LENGTH, as in news=2m')
        lengths[held.registry.get(name).name] = parse_duration(length)
    return lengths


def as_object(row: Foretold) -> dict[str, Any]:
    """The fields that `runs list --json` has too, and the slots that one row stands for."""
    return {
        "job": row.job,
        "slot": iso(row.slot),
        "slots": row.slots,
        "state": row.state,
        "reason": row.reason,
        "started_at": iso(row.started) if row.started else None,
        "ended_at": iso(row.ended) if row.ended and row.state != "running" else None,
    }


def show(rows: Sequence[Foretold], begin: datetime, end: datetime, down: Sequence[Window]) -> None:
    """The picture, the rows, and what they come to."""
    width = min(shutil.get_terminal_size().columns, 120) - max((len(row.job) for row in rows), default=0) - 2
    for line in timeline(rows, begin, end, down, max(20, width)):
        click.echo(line)
    click.echo(LEGEND + "\n")
    lines = [
        (row.number, row.job, _slots(row), row.state, iso(row.started) if row.started else None, _took(row), row.reason)
        for row in rows[:MOST_LINES]
    ]
    table(("run", "job", "slot", "state", "started", "took", "reason"), lines, "no slot comes in that time")
    if len(rows) > MOST_LINES:
        click.echo(f"... and {len(rows) - MOST_LINES:,} rows more; --json prints all", err=True)
    states: Counter[str] = Counter()
    for row in rows:
        states[row.state] += row.slots
    click.echo(
        f"{sum(states.values()):,} slots: " + ", ".join(f"{n:,} {state}" for state, n in states.items()), err=True
    )


def _slots(row: Foretold) -> str:
    return iso(row.slot) if row.slots == 1 else f"{iso(row.slot)} and {row.slots - 1} more"


def _took(row: Foretold) -> str | None:
    return span(row.ended - row.started) if row.ended and row.started and row.state != "running" else None
