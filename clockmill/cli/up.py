"""clockmill up: everything one machine needs, in one process tree."""

import click

from clockmill.cli.scheduler import set_up_logging
from clockmill.cli.show import mill
from clockmill.exchange.broker import masked
from clockmill.exchange.plan import broker_url
from clockmill.mill import Mill


@click.command("up", epilog="Example: clockmill up")
def up_command() -> None:
    """Scheduler, workers and the embedded Redis, in the foreground, until SIGTERM or Ctrl-C."""
    from clockmill.bodies import executors_of
    from scheduler import main

    set_up_logging()
    held = mill()
    # Forked before anything is opened; see clockmill.executors.
    executors = executors_of(held, reloadable=True)
    main(held, executors=executors, announce=lambda: say_where(held))


def say_where(held: Mill) -> None:
    """Tells a person where results can be read."""
    mirror, reason = held.mirror_or_reason()
    click.echo(f"SQL:   {held.engine.url.render_as_string(hide_password=True)}", err=True)
    click.echo(f"Redis: {held.redis_place() if mirror is not None else f'none, {reason}'}", err=True)
    if url := broker_url(held):
        click.echo(f"Broker: {masked(url)}", err=True)
