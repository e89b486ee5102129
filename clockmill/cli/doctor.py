"""clockmill doctor: what is there, what is missing, what to do about it."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from clockmill.cli import exits
from clockmill.cli.show import json_option, mill, print_json
from clockmill.doors import SCHEDULERS
from clockmill.errors import ClockmillError
from clockmill.local_zone import local_timezone
from clockmill.mill import Mill
from clockmill.version import VERSION
from db import migrate, sources
from db.engine import masked, open_engine
from db.errors import StoreError
from db.sources import CANONICAL, SourceSpec

#: Less free space than this, and the next large publication may not fit.
LOW_DISK = 500 * 2**20


class Finding(NamedTuple):
    """One thing looked at. `state`: ok, warning or problem."""

    state: str
    what: str
    says: str


@click.command("doctor", epilog="Example: clockmill doctor --json")
@json_option
def doctor_command(as_json: bool) -> None:
    """Look at everything the mill needs; exit code 1 when something must be mended."""
    findings = list(examine())
    if as_json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        colours = {"ok": "green", "warning": "yellow", "problem": "red"}
        for finding in findings:
            click.echo(f"{click.style(f'{finding.state:<8}', colours[finding.state])} {finding.what}: {finding.says}")
    if any(finding.state == "problem" for finding in findings):
        sys.exit(exits.FAILED)


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which one thing needs another."""
    yield Finding("ok", "clockmill", f"{VERSION} on Python {sys.version.split()[0]}, zone {local_timezone()}")
    try:
        held = mill()
    except ClockmillError as e:
        yield Finding("problem", "configuration", str(e))
        return
    yield Finding(
        "ok", "configuration", str(held.config.file or "defaults; clockmill init writes a file to start from")
    )
    checks: tuple[Callable[[Mill], Iterator[Finding]], ...] = (
        _jobs,
        _database,
        _sources,
        _redis,
        _broker,
        _disk,
        _scheduler,
    )
    for check in checks:
        try:
            yield from check(held)
        except (ClockmillError, StoreError) as e:
            yield Finding("problem", check.__name__.strip("_"), str(e))


def _jobs(held: Mill) -> Iterator[Finding]:
    for name, spec in held.registry.jobs.items():
        schedule = held.schedule(spec)
        if schedule is not None and schedule.never():
            yield Finding("warning", f"job {name}", f"{' + '.join(spec.schedule)} never comes")
    for name, reason in held.registry.broken.items():
        yield Finding("problem", f"job {name}", f"broken: {reason}")
    yield Finding("ok", "jobs", ", ".join(held.registry.jobs) or "none")


def _database(held: Mill) -> Iterator[Finding]:
    engine = open_engine(held.config.database_url)
    if engine.dialect.name == "sqlite":
        assert held.engine is not None
    migrate.check(engine)
    yield Finding("ok", "database", f"{masked(engine.url)}, revision {migrate.HEAD}")


def _sources(held: Mill) -> Iterator[Finding]:
    for name in {**dict.fromkeys(CANONICAL), **dict.fromkeys(held.sources)}:
        spec = held.sources.get(name) or SourceSpec(name)
        try:
            sources.check(held.source_engine(spec.url, f"sources.{spec.name}"), spec)
        except StoreError as e:
            yield Finding("problem", f"source {name}", str(e))
    yield Finding("ok", "sources", f"{len(held.sources)} mapped, the others are clockmill's own tables")


def _redis(held: Mill) -> Iterator[Finding]:
    mirror, reason = held.mirror_or_reason()
    url = held.config.table("redis")["url"]
    if mirror is not None:
        yield Finding("ok", "redis", "embedded server" if url == "embedded" else url.split("@")[-1])
        evicted, policy = mirror.evictions()
        if evicted or policy != "noeviction":
            says = f"maxmemory-policy is {policy}, {evicted} keys were evicted; set noeviction and enough maxmemory"
            yield Finding("problem" if evicted else "warning", "redis", says)
    else:
        yield Finding("ok" if url == "none" else "warning", "redis", f"SQL only: {reason}")


def _broker(held: Mill) -> Iterator[Finding]:
    from clockmill.exchange.broker import masked, opened, server_version, translated
    from clockmill.exchange.declaring import check
    from clockmill.exchange.flows import depths_of
    from clockmill.exchange.plan import broker_url, topology_of
    from clockmill.exchange.topology import DEAD, UNROUTABLE
    from db.outbox import waiting

    url = broker_url(held)
    if not url:
        yield Finding("ok", "broker", "none is configured: no events, local workers only")
        return
    with opened(url, "clockmill doctor") as connection, translated(url):
        version = ".".join(map(str, server_version(connection)))
        findings = check(connection, topology_of(held))
    yield from _left(depths_of(url, (DEAD, UNROUTABLE)), waiting(held.engine).problem)
    for finding in findings:
        if finding.state != "ok":
            yield Finding("warning" if finding.state == "unsupported" else "problem", finding.what, finding.says)
    yield Finding("ok", "broker", f"{masked(url)}, RabbitMQ {version}")


def _left(depths: dict[str, int], problem: str | None) -> Iterator[Finding]:
    """Messages that wait for a person."""
    says = "were set aside; see: clockmill events dead-letters list", "need what no worker offers: add workers"
    for (queue, depth), words in zip(depths.items(), says, strict=False):
        if depth:
            yield Finding("warning", queue, f"{depth} messages {words}")
    if problem:
        yield Finding("warning", "outbox", f"an event stays there: {problem}")


def _disk(held: Mill) -> Iterator[Finding]:
    held.config.var.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(held.config.var).free
    yield Finding(
        "ok" if free > LOW_DISK else "warning", "disk", f"{free / 2**30:.1f} GiB free under {held.config.var}"
    )


def _scheduler(held: Mill) -> Iterator[Finding]:
    yield from _stuck(held)
    alive = held.ledger.holders(SCHEDULERS)
    says = f"{len(alive)} running" if alive else "none is running; start one (clockmill up) or install cron lines"
    yield Finding("ok" if alive else "warning", "scheduler", says)


def _stuck(held: Mill) -> Iterator[Finding]:
    """Status files that a scheduler of this host left behind, or in which it says that it is not well."""
    for path in sorted((held.config.var / "status").glob("*.json")):
        status = json.loads(path.read_text(encoding="utf-8"))
        if not Path(f"/proc/{status['pid']}").exists():
            yield Finding("warning", "scheduler", f"{path} is of a process that died; remove it when you know why")
        elif not status["healthy"]:
            yield Finding("problem", "scheduler", f"process {status['pid']} is stuck since {status['beat_at']}: {path}")
