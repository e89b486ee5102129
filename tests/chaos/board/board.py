"""One output of many entities, a few of which change every second; every item of an entity names its run."""

import os

import numpy as np

from clockmill import Context, Output, job

USERS = int(os.environ.get("BOARD_USERS", "20000"))
CHANGED = 200
ITEMS = 5
COLUMNS = {"user_id": "id", "rank": "int", "run_id": "int", "fence": "int"}
BOARD = Output("board", key="user_id", order="rank", item="rank", score="run_id", columns=COLUMNS, redis="json")


@job(schedule="@every 1s", timezone="UTC", overlap="skip", catch_up="latest", outputs=[BOARD], name="plain-board")
def board(ctx: Context) -> None:
    first = not len(ctx.current("board", only=[0])["user_id"])
    users = np.arange(USERS) if first else (np.arange(CHANGED) + ctx.run_id * CHANGED) % USERS
    rows = len(users) * ITEMS
    columns = {
        "user_id": np.repeat(users, ITEMS),
        "rank": np.tile(np.arange(ITEMS), len(users)),
        "run_id": np.full(rows, ctx.run_id),
        "fence": np.full(rows, ctx.fence),
    }
    ctx.publish("board", columns, only=None if first else sorted(set(users.tolist())))
