"""Jobs of a host that sleeps: a run each, not thousands, when it wakes up."""

from clockmill import Context, job
from tests.chaos.jobs.effects import POLICY, effect, work


@job(schedule="*/10 * * * *", timezone="UTC", name="plain-latest")
def latest(ctx: Context) -> None:
    pass


@job(schedule="@every 3s", outputs=[effect("nap")], **{**POLICY, "catch_up": "latest", "overlap": "queue_one"})
def nap(ctx: Context) -> None:
    work(ctx, 1)
