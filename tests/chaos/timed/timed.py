"""Jobs whose backlog of an hour is run in seconds."""

from clockmill import Context, job
from tests.chaos.jobs.effects import POLICY, effect, work

SHORT = {**POLICY, "catch_up_window": "5m"}


@job(schedule="@every 1s", outputs=[effect("second")], **SHORT)
def second(ctx: Context) -> None:
    work(ctx, 0)


@job(schedule="@every 30s", outputs=[effect("often")], **SHORT)
def often(ctx: Context) -> None:
    work(ctx, 0.4)


@job(schedule="* * * * *", outputs=[effect("minute")], **SHORT)
def minute(ctx: Context) -> None:
    work(ctx, 0.4)
