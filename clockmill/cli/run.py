"""clockmill run: one job, now or for a slot, in this process, through its retries."""

import signal
import sys
from typing import Any

import click

from clockmill.bodies import executors_of
from clockmill.cli import exits
from clockmill.cli.show import Progress, instant_option, json_option, mill, print_json
from clockmill.doors import Outcome, manual_run, slot_run, stay
from clockmill.errors import UsageError
from clockmill.executors import Executors
from clockmill.job_spec import JobSpec
from clockmill.leases import CANCELLED
from clockmill.mill import Mill
from clockmill.report import PHASES, report_of
from clockmill.runner import Runner
from clockmill.slots import instant, iso
from db.overlap import BY_PERSON

LATEST = "latest"
EXIT_OF = {"succeeded": 0, "timed_out": exits.TIMED_OUT, "skipped": exits.BUSY}


@click.command(
    "run", epilog="Example: clockmill run recommendations -p k=50    As a cron line: clockmill run counters --slot"
)
@click.argument("job")
@click.option("-p", "--param", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter of this run.")
@click.option(
    "--slot", is_flag=False, flag_value=LATEST, metavar="[TIME]", help="The job's latest slot, or exactly this one."
)
@click.option("--force", is_flag=True, help="Ignore overlap and pause.")
@click.option("--dry-run", is_flag=True, help="Say what would be run, and do nothing.")
@json_option
def run_command(job: str, pairs: tuple[str, ...], slot: str | None, force: bool, dry_run: bool, as_json: bool) -> None:
    """Run JOB in this process and stay until it has ended.

    With --slot the run is that of a scheduled occurrence, shared with the scheduler and every cron line: it happens
    once, whoever starts it first. Exit code 0: done, or done already; 75: running elsewhere, or refused.
    """
    held = mill()
    spec = held.job(job)
    params = read_pairs(spec, pairs)
    spec.with_params(params)
    if slot is not None and params:
        raise UsageError("-p cannot be given with --slot: a slot's run has the configured parameters")
    at = instant_option(slot, "--slot") if slot not in (None, LATEST) else None
    if dry_run:
        say_what_would_run(held, spec, params, slot)
        return
    # Forked before the database is opened; see clockmill.executors.
    executors = executors_of(held, only=spec)
    now = held.now()
    if slot is None:
        run_id = manual_run(held, spec, params, forced=force, now=now)
    else:
        run_id = slot_run(held, spec, at, now, forced=force).run_id
    outcome = carry_out(held, executors, run_id, spec, as_json)
    if as_json:
        print_json(as_object(outcome))
    sys.exit(tell(outcome, as_json))


def read_pairs(spec: JobSpec, pairs: tuple[str, ...]) -> dict[str, Any]:
    params = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f'-p "{pair}": expected KEY=VALUE')
        params[key] = spec.read_param(key, value)
    return params


def carry_out(held: Mill, executors: Executors, run_id: int, spec: JobSpec, as_json: bool) -> Outcome:
    runner = Runner(held, executors)
    interrupted: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        interrupted.append(number)
        runner.leases.stop_all(CANCELLED[BY_PERSON], False)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    bar = Progress(f"run {run_id}: {spec.name}")

    def listener(message: Any) -> None:
        if "progress" in message:
            bar(message["progress"], message["note"])

    outcome = stay(runner, run_id, spec, listener, echo=not as_json)
    bar.done()
    if interrupted:
        sys.exit(exits.INTERRUPTED if interrupted[0] == signal.SIGINT else exits.TERMINATED)
    executors.close()
    return outcome


def tell(outcome: Outcome, quiet: bool) -> int:
    """Says what came of it; the exit code."""
    run = outcome.run
    what = f"run {run.run_id}: {run.job}" + (f", slot {iso(instant(run.slot_us))}" if run.slot_us else "")
    because = f": {run.reason}" if run.reason else ""
    if outcome.verdict == "done":
        click.echo(f"{what} has {run.state} already{because}", err=True)
        return 0
    if outcome.verdict == "taken":
        click.echo(f"{what} is running elsewhere (host {run.host}, attempt {run.attempt})", err=True)
        return exits.BUSY
    if outcome.verdict == "skipped":
        click.echo(f"{what} skipped{because}", err=True)
        return 0 if run.reason == "paused" and run.slot_us is not None else exits.BUSY
    if not quiet or run.state != "succeeded":
        report = report_of(run)
        rows = f", {report['rows_out']:,} rows" if "rows_out" in report else ""
        seconds = f" in {report['seconds']['total']:.2f} s" if "seconds" in report else ""
        click.echo(f"{what} {run.state}{because}{rows}{seconds}", err=True)
    return EXIT_OF.get(run.state, exits.FAILED)


def as_object(outcome: Outcome) -> dict[str, Any]:
    """The run as --json prints it: every key always, phases that did not happen took 0 s."""
    run, report = outcome.run, report_of(outcome.run)
    ran = run.started_us and run.ended_us
    seconds = {**dict.fromkeys(PHASES, 0.0), "total": (run.ended_us - run.started_us) / 1e6 if ran else 0.0}
    return {
        "run_id": run.run_id,
        "job": run.job,
        "state": run.state,
        "attempt": run.attempt,
        "rows_in": report.get("rows_in", 0),
        "rows_out": report.get("rows_out", 0),
        "seconds": {**seconds, **report.get("seconds", {})},
        "peak_rss_mb": report.get("peak_rss_mb"),
        "version": report.get("version"),
    }


def say_what_would_run(held: Mill, spec: JobSpec, params: dict[str, Any], slot: str | None) -> None:
    schedule = held.schedule(spec)
    now = held.now()
    if slot is None:
        what = "a run of its own"
    else:
        at = instant_option(slot, "--slot") if slot != LATEST else (schedule.previous(now) if schedule else None)
        what = f"the slot {iso(at)}" if at else "no slot: the job has none up to now"
    does = " ".join(spec.command) if spec.command else f"{spec.origin}.{spec.name}"
    click.echo(f"would run {what} of {spec.name}: {does}, params { ({**spec.params, **params}) }")
