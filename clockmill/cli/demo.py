"""clockmill demo: a small application with people, products, places and feeds, and every job run on it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockmill.bodies import executors_of
from clockmill.cli.scheduler import set_up_logging
from clockmill.cli.show import Progress, mill
from clockmill.config import home_of
from clockmill.config_example import render
from clockmill.doors import manual_run, stay
from clockmill.errors import ClockmillError
from clockmill.executors import Executors
from clockmill.mill import Mill
from clockmill.report import report_of
from clockmill.runner import Runner
from db import outputs

if TYPE_CHECKING:
    from clockmill.demo.http_source import HttpSource

#: Where the demo's own source of forecasts and feeds listens; written into the demo's configuration.
PORT = 8791


@click.command("demo", epilog="Example: clockmill demo --once")
@click.option("--once", is_flag=True, help="End after the jobs instead of leaving the scheduler running.")
@click.option(
    "--port", type=click.IntRange(1024, 65535), default=PORT, show_default=True, help="Of the local HTTP source."
)
def demo_command(once: bool, port: int) -> None:
    """Make a small application, run every job on it, and leave the scheduler running.

    Everything is kept in $CLOCKMILL_HOME and used again by the next demo. Nothing outside this machine is called.
    """
    from clockmill.demo import prepare

    began = time.perf_counter()
    write_config(port)
    held = mill()
    # Forked before anything is opened; see clockmill.executors.
    executors = executors_of(held, reloadable=True)
    with http_source(port) as source:
        bar = Progress("application")
        _timed("application", lambda: prepare(held.engine, held.config.home, source.base_url, bar))
        bar.done()
        _timed("redis", lambda: _say_redis(held))
        for name in held.registry.jobs:
            _run(held, executors, name)
        click.echo(f"\nall of it took {time.perf_counter() - began:.1f} s", err=True)
        look_further(held)
        if once:
            executors.close()
            return
        from scheduler import main

        click.echo("\nthe scheduler keeps going; Ctrl-C ends it", err=True)
        set_up_logging()
        main(held, executors=executors)


def write_config(port: int) -> None:
    """The demo's own configuration: forecasts and feeds come from this machine. One that is there stays."""
    from clockmill.demo import settings

    path = home_of() / "clockmill.toml"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(settings(f"http://127.0.0.1:{port}")), encoding="utf-8")


def http_source(port: int) -> "HttpSource":
    """The local source of forecasts and feeds, on the port that the demo's configuration names."""
    from clockmill.demo.http_source import HttpSource

    try:
        return HttpSource(port)
    except OSError as e:
        raise ClockmillError(
            f"port {port} of 127.0.0.1 cannot be opened ({e.strerror}); end the other demo, or remove "
            f"{home_of() / 'clockmill.toml'} and choose another with --port"
        ) from None


def _timed(what: str, work: Callable[[], Any]) -> None:
    began = time.perf_counter()
    work()
    click.echo(f"{what}: {time.perf_counter() - began:.1f} s", err=True)


def _say_redis(held: Mill) -> None:
    mirror, reason = held.mirror_or_reason()
    click.echo(f"Redis: {held.redis_place() if mirror is not None else f'none, SQL only: {reason}'}", err=True)


def _run(held: Mill, executors: Executors, name: str) -> None:
    spec = held.registry.get(name)
    run_id = manual_run(held, spec, {}, forced=False, now=held.now())
    bar = Progress(name)

    def listener(message: Any) -> None:
        if "progress" in message:
            bar(message["progress"], message["note"])

    run = stay(Runner(held, executors), run_id, spec, listener).run
    bar.done()
    if run.state != "succeeded":
        raise ClockmillError(f"job {name} {run.state}: {run.reason}; see: clockmill runs logs {run.run_id}")
    report = report_of(run)
    spent = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in report["seconds"].items())
    click.echo(f"{name}: {report['rows_in']:,} rows in, {report['rows_out']:,} rows out; seconds: {spent}", err=True)


def look_further(held: Mill) -> None:
    """What was published, and the commands that show it."""
    click.echo("\nlook further:")
    if Path(sys.argv[0]).parent != Path(_on_path() or "."):
        click.echo(f"  export CLOCKMILL_HOME={held.config.home} PATH={Path(sys.argv[0]).parent}:$PATH")
    for name, row in outputs.known(held.engine).items():
        spec, _ = outputs.find(held.engine, name)
        keys = outputs.all_keys(held.engine, spec, row.version)
        published = outputs.publication(held.engine, name, row.version)
        shown = keys[min(41, len(keys) - 1)] if keys else "ID"
        rows = published.rows if published else 0
        click.echo(f"  clockmill outputs get {name} {shown}".ljust(50) + f"# {len(keys):,} entities, {rows:,} rows")
    for line in ("outputs mutual 3 4", "outputs list", "jobs list", "runs list", "doctor"):
        click.echo(f"  clockmill {line}")


def _on_path() -> str | None:
    import shutil

    found = shutil.which("clockmill")
    return str(Path(found).parent) if found else None
