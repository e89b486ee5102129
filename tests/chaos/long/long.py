"""Two jobs that take longer than the broker waits: by its timeout clockmill can know it of one alone."""

import time

from clockmill import Context, job


def work(ctx: Context) -> None:
    time.sleep(ctx.params["seconds"])
    ctx.emit("chaos.long.done", {"run": ctx.run_id})


@job(executor="celery", timeout="31m", params={"seconds": 0.0})
def foreseen(ctx: Context) -> None:
    work(ctx)


@job(executor="celery", timeout="5m", params={"seconds": 0.0})
def unforeseen(ctx: Context) -> None:
    work(ctx)
