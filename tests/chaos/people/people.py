"""One output of very many people, and a small job beside it that shows whether slots are recorded in time."""

import os

import numpy as np

from clockmill import Context, Output, job

PEOPLE = int(os.environ.get("PEOPLE", "1000000"))
COLUMNS = {"user_id": "id", "rank": "int", "friend_id": "id"}
LISTS = Output("people", key="user_id", order="rank", item="friend_id", columns=COLUMNS)


@job(outputs=[LISTS], timeout="20m")
def people(ctx: Context) -> None:
    users = np.repeat(np.arange(PEOPLE), 2)
    friends = (users * 7 + 11) % PEOPLE
    friends[: len(friends) // 10] += ctx.run_id
    ctx.publish("people", {"user_id": users, "rank": np.tile([0, 1], PEOPLE), "friend_id": friends})


@job(schedule="@every 1s", timezone="UTC", name="plain-tick", overlap="allow")
def tick(ctx: Context) -> None:
    pass
