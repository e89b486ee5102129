"""clockmill jobs: what there is to run, when, and how it went last time."""

import sys
from datetime import datetime
from typing import Any

import click

from clockmill.cli import exits
from clockmill.cli.show import ago, broken_jobs, instant_option, json_option, mill, print_json, print_next, stamp, table
from clockmill.doors import advance, know
from clockmill.errors import UsageError
from clockmill.exchange.broadcast import PAUSE, shout
from clockmill.history import usual_durations
from clockmill.job_spec import JobSpec
from clockmill.lint import RULES, Finding, lint_jobs
from clockmill.mill import Mill, zone_of
from clockmill.slots import iso, micros


@click.group("jobs")
def jobs_command() -> None:
    """List, show, check, pause and resume jobs."""


@jobs_command.command("list", epilog="Example: clockmill jobs list --json")
@json_option
def list_jobs(as_json: bool) -> None:
    """Every job: schedule, next slot, last run, state."""
    held = mill()
    found = [describe(held, spec) for spec in held.registry.jobs.values()]
    found += [broken(name, reason) for name, reason in held.registry.broken.items()]
    if as_json:
        print_json({"jobs": found})
        return
    now = held.now()
    rows = [
        (job["job"], " + ".join(job["schedule"]) or "-", _in(job["next"], held), _last(job, now), job["state"])
        for job in found
    ]
    table(("name", "schedule", "next", "last", "state"), rows, "no jobs; see: clockmill init")
    for sentence in broken_jobs(held):
        click.echo(sentence, err=True)


def describe(held: Mill, spec: JobSpec) -> dict[str, Any]:
    schedule = held.schedule(spec)
    row = held.ledger.job(spec.name)
    last = next(iter(held.ledger.runs(spec.name, limit=1)), None)
    following = schedule.next(held.now()) if schedule else None
    return {
        "job": spec.name,
        "schedule": list(spec.schedule),
        "timezone": zone_of(spec),
        "next": iso(following) if following else None,
        "state": row.state if row is not None else "enabled",
        "reason": row.reason if row is not None else None,
        "last_run": None
        if last is None
        else {"run_id": last.run_id, "state": last.state, "started_at": stamp(last.started_us)},
        "origin": spec.origin,
    }


def broken(name: str, reason: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"schedule": [], "timezone": None, "next": None, "last_run": None, "origin": None}
    return {"job": name, "state": "broken", "reason": reason, **empty}


def _in(text: str | None, held: Mill) -> str:
    following = instant_option(text, "next")
    return ago(micros(following), held.now()) if following else "-"


def _last(job: dict[str, Any], now: datetime) -> str:
    last = job["last_run"]
    if last is None:
        return "never"
    started = instant_option(last["started_at"], "started_at")
    return f"{last['state']} {ago(micros(started), now)}" if started else str(last["state"])


@jobs_command.command("show", epilog="Example: clockmill jobs show recommendations")
@click.argument("job")
@json_option
def show_job(job: str, as_json: bool) -> None:
    """Everything that is known of JOB: policies, parameters, outputs, recent runs."""
    held = mill()
    spec = held.registry.get(job)
    found = {**describe(held, spec), **spec.identity(), "timezone": zone_of(spec)}
    found["outputs"] = [output.name for output in spec.outputs]
    if as_json:
        print_json(found)
        return
    schedule = held.schedule(spec)
    click.echo(f"{spec.name}: {schedule.explain() if schedule else 'runs only when asked'}")
    for key in (
        "origin",
        "command",
        "overlap",
        "catch_up",
        "timeout",
        "retries",
        "on_lost",
        "params",
        "outputs",
        "state",
    ):
        if found[key] not in (None, [], {}):
            click.echo(f"  {key:<10} {found[key]}")
    rows = [
        (run.run_id, run.trigger, run.state, ago(run.started_us or run.created_us, held.now()), run.reason)
        for run in held.ledger.runs(spec.name, limit=5)
    ]
    table(("run", "trigger", "state", "when", "reason"), rows, f"it never ran; try: clockmill run {spec.name}")


@jobs_command.command("next", epilog="Example: clockmill jobs next recommendations -n 3")
@click.argument("job")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=5, show_default=True, help="So many.")
@click.option("--from", "start", metavar="TIME", help="Instead of now.")
@json_option
def next_slots(job: str, count: int, start: str | None, as_json: bool) -> None:
    """The next slots of JOB."""
    held = mill()
    spec = held.registry.get(job)
    schedule = held.schedule(spec)
    if schedule is None:
        raise UsageError(f"job {job} has no schedule; it runs only when asked")
    print_next(schedule, instant_option(start, "--from") or held.now(), count, zone_of(spec), as_json)


@jobs_command.command("lint", epilog="Example: clockmill jobs lint --ignore same-minute")
@click.option("--ignore", multiple=True, type=click.Choice(list(RULES)), help="A rule whose findings are not wanted.")
@json_option
def lint(ignore: tuple[str, ...], as_json: bool) -> None:
    """What is allowed in the jobs' schedules and still hardly meant. Exit code 1 when something was found, 2 when a
    job is broken."""
    held = mill()
    listed = [(spec, held.schedule(spec)) for spec in held.registry.jobs.values()]
    usual = usual_durations(held.ledger, held.registry.jobs)
    found = [(job, one) for job, one in lint_jobs(listed, held.now(), usual) if one.rule not in ignore]
    found += [(job, Finding("broken", reason)) for job, reason in held.registry.broken.items()]
    if as_json:
        print_json({"findings": [{"job": job, "rule": one.rule, "says": one.sentence} for job, one in found]})
    for job, one in [] if as_json else found:
        click.echo(f"{job}: {one.sentence} [{one.rule}]")
    if not as_json:
        click.echo(f"{len(listed)} jobs, {len(found)} findings", err=True)
    sys.exit(exits.USAGE if held.registry.broken else exits.FAILED if found else 0)


@jobs_command.command("pause", epilog="Example: clockmill jobs pause news")
@click.argument("job")
def pause(job: str) -> None:
    """Record JOB's slots as skipped until it is resumed."""
    _set_state(job, "paused", "paused by a person")


@jobs_command.command("resume", epilog="Example: clockmill jobs resume news")
@click.argument("job")
def resume(job: str) -> None:
    """Let JOB's slots run again; those of the pause stay skipped."""
    _set_state(job, "enabled", None)


def _set_state(job: str, state: str, reason: str | None) -> None:
    held = mill()
    spec = held.registry.get(job)
    now = held.now()
    know(held, spec, now)
    # What lies before this instant is accounted for under the state it had.
    if schedule := held.schedule(spec):
        advance(held, spec, schedule, now)
    held.ledger.set_job_state(job, state, reason)
    shout(held, PAUSE, job)
    click.echo(f"job {job} is {state}", err=True)
