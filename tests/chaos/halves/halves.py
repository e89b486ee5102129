"""Shards of a third of a second; whoever begins one says so in a log that clockmill never sees."""

import os
import time
from pathlib import Path

import numpy as np

from clockmill import Context, Output, Shard, job

SHARDS = 24
ROWS = 600
LISTED = Output("halves", key="n", columns={"n": "id", "half": "float", "run_id": "int"})


def halve(shard: Shard):
    with Path(os.environ["CHAOS_LOG"]).open("a") as log:
        log.write(f"{shard.facts['run']} {shard.number}\n")
    for step in range(4):
        time.sleep(0.1)
        shard.progress((step + 1) / 4)
    return {"half": shard.arrays["n"][shard.first : shard.last] / 2}


@job(schedule="@every 6s", timezone="UTC", outputs=[LISTED], shard=halve, overlap="queue_all", timeout="2m")
def halves(ctx: Context) -> None:
    n = np.arange(ROWS)
    parts = ctx.shards(SHARDS, {"n": n}, np.ones(ROWS, np.int64), {"run": ctx.run_id})
    half = np.concatenate([part["half"] for part in parts])
    ctx.publish("halves", {"n": n, "half": half, "run_id": np.full(ROWS, ctx.run_id)})
