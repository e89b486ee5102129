"""clockmill runs: what became of every slot and of everything that was asked for."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from clockmill.cli.show import ago, instant_option, json_option, mill, print_json, span, stamp, table
from clockmill.errors import UsageError
from clockmill.exchange.broadcast import CANCEL, shout
from clockmill.mill import Mill
from clockmill.report import report_of
from clockmill.slots import instant, iso, micros
from db.statements import TERMINAL, WAITING

STATES = ("running", *WAITING, *TERMINAL)


@click.group("runs")
def runs_command() -> None:
    """What ran, what did not, and why."""


@runs_command.command("list", epilog="Example: clockmill runs list --job news --state failed")
@click.option("--job", help="Of one job only.")
@click.option("--state", type=click.Choice(STATES), help="In one state only.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The latest so many.")
@json_option
def list_runs(job: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """The latest runs."""
    held = mill()
    found = held.ledger.runs(job, state, limit)
    if as_json:
        print_json({"runs": [as_object(run) for run in found]})
        return
    now = held.now()
    rows = [
        (run.run_id, run.job, _slot(run), run.trigger, run.state, ago(run.started_us or run.created_us, now),
         _took(run), run.attempt, run.reason)
        for run in found
    ]  # fmt: skip
    headers = ("run", "job", "slot", "trigger", "state", "when", "took", "attempts", "reason")
    table(headers, rows, "nothing ran yet; try: clockmill run JOB")


def as_object(run: Any) -> dict[str, Any]:
    """One run as `runs list --json` prints it."""
    return {
        "run_id": run.run_id,
        "job": run.job,
        "slot": stamp(run.slot_us),
        "state": run.state,
        "reason": run.reason,
        "trigger": run.trigger,
        "attempts": run.attempt,
        "started_at": stamp(run.started_us),
        "ended_at": stamp(run.ended_us),
        "host": run.host,
    }


def _slot(run: Any) -> str | None:
    first = stamp(run.slot_us)
    return first if run.slot_count == 1 else f"{first} and {run.slot_count - 1} more"


def _took(run: Any) -> str | None:
    if not run.started_us or not run.ended_us:
        return f"{run.progress:.0%}" if run.progress else None
    return span(instant(run.ended_us) - instant(run.started_us))


@runs_command.command("show", epilog="Example: clockmill runs show 17")
@click.argument("run_id", type=int)
@json_option
def show_run(run_id: int, as_json: bool) -> None:
    """One run with its attempts."""
    held = mill()
    run = find(held, run_id)
    attempts = [
        {
            "attempt": one.attempt,
            "state": one.state,
            "reason": one.reason,
            "host": one.host,
            "pid": one.pid,
            "started_at": stamp(one.started_us),
            "ended_at": stamp(one.ended_us),
            "exit_code": one.exit_code,
            "signal": one.signal,
        }
        for one in held.ledger.attempts(run_id)
    ]
    whole = {
        **as_object(run),
        "slots": run.slot_count,
        "progress": run.progress,
        "retry_of": run.retry_of,
        "shard_of": run.shard_of,
        "params": json.loads(run.params_json),
        **report_of(run),
        "tried": attempts,
    }
    if run.shards:
        whole["shards"] = [_shard(one) for one in held.ledger.shards(run_id)]
    if as_json:
        print_json(whole)
        return
    for key, value in whole.items():
        if key not in ("tried", "shards") and value not in (None, {}, ""):
            click.echo(f"{key:<12} {value}")
    rows = [(a["attempt"], a["state"], a["started_at"], a["ended_at"], a["exit_code"], a["reason"]) for a in attempts]
    table(("attempt", "state", "started", "ended", "exit", "reason"), rows, "it was never started")
    if run.shards:
        click.echo("")
        shards = [tuple(one.values()) for one in whole["shards"]]
        table(("shard", "of rows", "run", "state", "attempts", "took", "host", "reason"), shards, "")


def _shard(run: Any) -> dict[str, Any]:
    """One shard as `runs show` of its run tells of it."""
    part = json.loads(run.params_json)
    return {
        "number": part["number"] + 1,
        "rows": f"{part['first']}-{part['last'] - 1}",
        "run_id": run.run_id,
        "state": run.state,
        "attempts": run.attempt,
        "took": _took(run),
        "host": run.host,
        "reason": run.reason,
    }


def find(held: Mill, run_id: int) -> Any:
    run = held.ledger.run(run_id)
    if run is None:
        raise UsageError(f"there is no run {run_id}; see: clockmill runs list")
    return run


@runs_command.command("logs", epilog="Example: clockmill runs logs 17 -f")
@click.argument("run_id", type=int)
@click.option("--attempt", type=int, help="By default the latest one.")
@click.option("-f", "--follow", is_flag=True, help="Wait for more until the run has ended.")
def logs(run_id: int, attempt: int | None, follow: bool) -> None:
    """What an attempt of the run wrote."""
    held = mill()
    run = find(held, run_id)
    number = attempt or run.attempt
    path = held.log_path(f"{run_id}.{number}.log")
    if not path.is_file():
        where = "was never started" if not run.attempt else f"has no log of attempt {number} on this host ({path})"
        raise UsageError(f"run {run_id} {where}")
    _copy(held, run_id, path, follow)


def _copy(held: Mill, run_id: int, path: Path, follow: bool) -> None:
    with path.open("rb") as file:
        while True:
            ended = find(held, run_id).state in TERMINAL
            while data := file.read(1 << 16):
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            if ended or not follow:
                return
            time.sleep(0.3)


@runs_command.command("why", epilog="Example: clockmill runs why news 2026-03-08T07:00:00Z")
@click.argument("job")
@click.argument("time", required=False)
@json_option
def why_(job: str, time: str | None, as_json: bool) -> None:
    """Why JOB ran, or did not run, at TIME (UTC); without TIME, at its latest slot."""
    from clockmill.why import why

    held = mill()
    found = why(held, held.registry.get(job), instant_option(time, "TIME"), held.now())
    if as_json:
        print_json(
            {
                "job": job,
                "time": found.at and iso(found.at),
                "slot": found.is_slot,
                "why": "; ".join(found.sentences),
                "run": found.row and as_object(found.row),
                "again": found.again and as_object(found.again),
                "previous": found.before and iso(found.before),
                "next": found.after and iso(found.after),
            }
        )
        return
    if found.at is not None:
        click.echo(f"{job} at {iso(found.at)}", err=True)
    for sentence in found.sentences:
        click.echo(sentence)


@runs_command.command("retry", epilog="Example: clockmill runs retry 17")
@click.argument("run_id", type=int)
def retry(run_id: int) -> None:
    """Run again, here and now, what run RUN_ID did or should have done; as a new run."""
    from clockmill.bodies import executors_of
    from clockmill.cli.run import carry_out, tell
    from clockmill.doors import retry_run

    held = mill()
    executors = executors_of(held)
    of = find(held, run_id)
    if of.shard_of is not None:
        raise UsageError(f"run {run_id} is a shard of run {of.shard_of}: retry that one")
    if of.state not in TERMINAL:
        raise UsageError(f"run {run_id} is {of.state}; only a run that has ended can be run again")
    spec = held.registry.get(of.job)
    row = retry_run(held, spec, of, held.now())
    sys.exit(tell(carry_out(held, executors, row.run_id, spec, as_json=False), quiet=False))


@runs_command.command("cancel", epilog="Example: clockmill runs cancel 17")
@click.argument("run_id", type=int)
def cancel(run_id: int) -> None:
    """End a run: one that waits at once, a running one by TERM, and KILL ten seconds later."""
    held = mill()
    before = held.ledger.cancel(run_id, micros(held.now()))
    shout(held, CANCEL, run_id)
    if before in TERMINAL:
        raise UsageError(f"run {run_id} has {before} already")
    _revoke(held, run_id)
    click.echo(f"run {run_id} was {before}; it is being ended" if before == "running" else f"run {run_id} cancelled")


def _revoke(held: Mill, run_id: int) -> None:
    """Workers of a broker need not ask the ledger about its message."""
    from clockmill.exchange.plan import broker_url
    from clockmill.exchange.run_messages import carried, revoke

    url = broker_url(held)
    if url and find(held, run_id).job in carried(held):
        revoke(held, url, run_id)
