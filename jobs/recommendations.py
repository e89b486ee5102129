"""Friends in both directions, and people you may know: friends of friends, with the friends in common."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from clockmill import Context, JobError, Output, Shard, compute, job

FRIENDS = Output("friends", key="user_id", item="friend_id", columns={"user_id": "id", "friend_id": "id"}, redis="set")
RECOMMENDATIONS = Output(
    "recommendations",
    key="user_id",
    order="rank",
    item="candidate_id",
    score="score",
    columns={
        "user_id": "id",
        "rank": "int",
        "candidate_id": "id",
        "score": "float",
        "mutual_count": "int",
        "mutual_ids": "json",
    },
    redis="json",
)


def some_lists(shard: Shard) -> Mapping[str, Any]:
    compute.compile_kernels(shard.cache_dir, shard.log, of=())
    return compute.recommend_range(shard.arrays, shard.facts, shard.first, shard.last, shard.progress)


@job(
    schedule="15 3 * * *",
    timeout="30m",
    # What an event asks for while a run is at work must follow it.
    overlap="queue_one",
    params={"weighting": "adamic_adar", "k": 20, "full": False, "rebuild": "7d", "shards": 1},
    choices={"weighting": ("adamic_adar", "common_neighbours", "resource_allocation", "jaccard")},
    outputs=[FRIENDS, RECOMMENDATIONS],
    shard=some_lists,
)
def recommendations(ctx: Context) -> None:
    weighting, k, shards = ctx.params["weighting"], ctx.params["k"], ctx.params["shards"]
    divide = partial(ctx.shards, shards) if shards != 1 else None
    rows = ctx.read("friendships", "user_id", "friend_id")
    before = ctx.basis("recommendations", {"weighting": weighting, "k": k, "lists": 3}, ctx.params["rebuild"])
    with ctx.phase("compile"):
        compute.compile_kernels(ctx.cache_dir, ctx.log, ["people"])
    with ctx.phase("compute"):
        try:
            graph = compute.friendship_graph(rows["user_id"], rows["friend_id"])
            known = compute.know_graph(graph, weighting)
            change = compute.changed_people(graph, known, before) if before else compute.everything(before.missing)
            lists = compute.recommend(graph, weighting, k, progress=ctx.progress, only=change.rows, divide=divide)
        except ValueError as e:
            raise JobError(f"recommendations: {e}") from None
        basis = compute.people_basis(graph, known, k, before, change, lists)
        lists = compute.or_popular_people(graph, lists, k, change.rows)
    if graph.dropped.self_loops:
        ctx.log(f"friendships: {graph.dropped.self_loops} rows of a user with themselves were left out")
    ctx.publish("friends", compute.friends(graph))
    ctx.publish("recommendations", lists, only=change.keys(graph.ids), basis=basis, why=change.why)
