"""Jobs whose slots of ten years can be counted in a minute."""

from clockmill import Context, job
from tests.chaos.jobs.effects import POLICY, effect, work

SHORT = {**POLICY, "catch_up_window": "5m"}


@job(schedule="@every 30s", outputs=[effect("often")], **SHORT)
def often(ctx: Context) -> None:
    work(ctx, 0.4)


@job(schedule="* * * * *", outputs=[effect("minute")], **SHORT)
def minute(ctx: Context) -> None:
    work(ctx, 0.4)
