"""clockmill backfill: slots of the past, one after the other, in this process."""

import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

import click

from clockmill.backfill import REPROCESS, Step, record, steps
from clockmill.bodies import executors_of
from clockmill.cli import exits
from clockmill.cli.show import Progress, instant_option, json_option, mill, print_json, table
from clockmill.doors import know, stay
from clockmill.errors import Refused, UsageError
from clockmill.job_spec import JobSpec
from clockmill.leases import CANCELLED
from clockmill.mill import Mill
from clockmill.runner import Runner
from clockmill.slots import iso
from db.overlap import BY_PERSON
from db.tables import Record


@click.command("backfill", epilog="Example: clockmill backfill news --from 2026-03-01 --to 2026-03-08 --dry-run")
@click.argument("job")
@click.option("--from", "start", metavar="TIME", required=True, help="The earliest slot, in UTC.")
@click.option("--to", "end", metavar="TIME", required=True, help="The latest slot.")
@click.option(
    "--reprocess",
    type=click.Choice(REPROCESS),
    default="none",
    show_default=True,
    help="Besides slots that never ran: those that failed, or all that are completed.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many runs, the newest slots first.")
@click.option("--dry-run", is_flag=True, help="Show what would be run, and do nothing.")
@json_option
def backfill_command(
    job: str, start: str, end: str, reprocess: str, limit: int | None, dry_run: bool, as_json: bool
) -> None:
    """Run JOB's slots between two times here and now, newest first, one after the other.

    A slot that nobody has recorded gets its row; one whose row says that it did not run, or failed, gets a further
    run. While another run of the job is in the way, it waits.
    """
    held = mill()
    spec = held.registry.get(job)
    now = held.now()
    begin, until = instant_option(start, "--from"), instant_option(end, "--to")
    if begin is None or until is None or begin > until or begin > now:
        raise UsageError(f"--from {start} must lie in the past, and not after --to {end}")
    schedule = held.schedule(spec)
    if schedule is None:
        raise UsageError(f"job {job} has no schedule, so no slots; run it with: clockmill run {job}")
    executors = None if dry_run else executors_of(held)
    found = [step for step in steps(held, spec, schedule, begin, min(until, now), reprocess) if step.again]
    chosen = list(islice(found, limit))
    if executors is None:
        show_plan(chosen, len(found), as_json)
        return
    refuse_paused(held, job)
    know(held, spec, now)
    ended = carry_out(Runner(held, executors), spec, chosen)
    executors.close()
    tell(ended, as_json)


def refuse_paused(held: Mill, job: str) -> None:
    row = held.ledger.job(job)
    if row is not None and row.state == "paused":
        raise Refused(f"job {job} is paused; resume it first: clockmill jobs resume {job}")


def show_plan(chosen: Sequence[Step], found: int, as_json: bool) -> None:
    if as_json:
        print_json({"slots": [{"slot": iso(step.slot), "state": step.state} for step in chosen], "found": found})
        return
    table(("slot", "so far"), [(iso(step.slot), step.state) for step in chosen], "no slot of that time is to be run")
    click.echo(f"would run {len(chosen)} of {found} slots", err=True)


def carry_out(runner: Runner, spec: JobSpec, chosen: Sequence[Step]) -> list[tuple[datetime, Record]]:
    """Runs the slots; ends with the first after Ctrl-C or TERM."""
    interrupted: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        interrupted.append(number)
        runner.leases.stop_all(CANCELLED[BY_PERSON], False)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    # Whatever the job's slots do when they meet: these were asked for, and can wait.
    patient = replace(spec, overlap="queue_all")
    bar = Progress(f"backfill {spec.name}")
    ended = []
    for number, step in enumerate(chosen):
        row = record(runner.mill, spec, step, runner.mill.now())
        bar(number / len(chosen), iso(step.slot))
        ended.append((step.slot, stay(runner, row.run_id, patient).run))
        if interrupted:
            bar.done()
            sys.exit(exits.INTERRUPTED if interrupted[0] == signal.SIGINT else exits.TERMINATED)
    bar.done()
    return ended


def tell(ended: Sequence[tuple[datetime, Record]], as_json: bool) -> None:
    if as_json:
        rows = [{"slot": iso(slot), "run_id": run.run_id, "state": run.state} for slot, run in ended]
        print_json({"runs": rows})
    else:
        lines = [(iso(slot), run.run_id, run.state, run.reason) for slot, run in ended]
        table(("slot", "run", "state", "reason"), lines, "no slot of that time is to be run")
        states = Counter(run.state for _, run in ended)
        click.echo(f"{len(ended)} slots run" + "".join(f", {n} {state}" for state, n in states.items()), err=True)
    sys.exit(0 if all(run.state == "succeeded" for _, run in ended) else exits.FAILED)
