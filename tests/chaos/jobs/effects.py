"""Jobs that leave two traces: rows of an output, committed with the run, and lines in a log."""

import json
import os
import time
from pathlib import Path

from clockmill import Context, Output, job
from db.pause import pause

#: Appended to by every process at once; a line is one write, so lines are never mixed.
LOG = Path(os.environ["CHAOS_LOG"])
STEP_S = 0.1


def note(event: str, ctx: Context) -> None:
    line = {
        "event": event,
        "at": time.time(),
        "job": ctx.job,
        "run": ctx.run_id,
        "slot": ctx.slot.timestamp() if ctx.slot else None,
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "pid": os.getpid(),
    }
    with LOG.open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


def effect(name: str) -> Output:
    """One row a slot: with `only`, the rows of every other slot stay, so that the output is the list of all effects."""
    columns = {"slot": "int", "n": "int", "run_id": "int", "fence": "int"}
    return Output(f"effects_{name}", key="slot", order="n", item="n", columns=columns, redis="json")


def work(ctx: Context, seconds: float) -> None:
    note("start", ctx)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pause(STEP_S)
        note("alive", ctx)
    slot = int(ctx.slot.timestamp()) if ctx.slot else 0
    rows = {"slot": [slot] * 3, "n": [1, 2, 3], "run_id": [ctx.run_id] * 3, "fence": [ctx.fence] * 3}
    ctx.publish(f"effects_{ctx.job}", rows, only=[slot])
    note("end", ctx)


POLICY = {
    "timezone": "UTC",
    "catch_up": "all",
    "catch_up_window": "1d",
    "overlap": "queue_all",
    "retries": 50,
    "backoff": "1s",
}


@job(schedule="@every 1s", outputs=[effect("quick")], **POLICY)
def quick(ctx: Context) -> None:
    work(ctx, 0)


@job(schedule="*/2 * * * * *", outputs=[effect("steady")], **POLICY)
def steady(ctx: Context) -> None:
    work(ctx, 0.4)


@job(schedule="@every 7s", outputs=[effect("slow")], **POLICY)
def slow(ctx: Context) -> None:
    work(ctx, 3)


@job(schedule="* * * * *", outputs=[effect("minute")], **POLICY)
def minute(ctx: Context) -> None:
    work(ctx, 1)
