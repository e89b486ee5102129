"""clockmill scheduler: the daemon."""

import logging

import click

from clockmill.cli.show import mill


def set_up_logging() -> None:
    """One line an event on standard error; APScheduler's own chatter only when something is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)


@click.command("scheduler", epilog="Example: clockmill scheduler --workers 2")
@click.option("--workers", type=click.IntRange(0, 256), help="Runs at once; 0: keep time only, others run.")
def scheduler_command(workers: int | None) -> None:
    """Keep time and run what is due, in the foreground, until SIGTERM or Ctrl-C."""
    from scheduler import main

    set_up_logging()
    main(mill(), workers)
