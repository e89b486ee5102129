"""clockmill worker: a pool of hands alone."""

import click

from clockmill.cli.scheduler import set_up_logging
from clockmill.cli.show import mill


@click.command("worker", epilog="Example: clockmill worker --pool heavy --concurrency 2")
@click.option("--pool", "pools", multiple=True, metavar="POOL", help="Only runs of this pool; may be repeated.")
@click.option("--concurrency", type=click.IntRange(1, 256), help="Runs at once; by default [scheduler] workers.")
@click.option("--offers", multiple=True, metavar="LABEL", help="What it has that runs may need, for instance gpu=1.")
def worker_command(pools: tuple[str, ...], concurrency: int | None, offers: tuple[str, ...]) -> None:
    """Run what is due, in the foreground: what Celery brings from the broker or, without one, what the ledger holds."""
    from clockmill.worker import main

    set_up_logging()
    held = mill()
    main(held, pools, concurrency or held.config.table("scheduler")["workers"], offers)
