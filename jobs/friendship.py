"""Friends and recommendations of two people as soon as they become friends, or are no more.

The lists of others, whose friends' weight has changed by it, follow with the next run of recommendations.
"""

from typing import Any

from clockmill import EventContext, compute, on
from clockmill.slots import iso
from jobs.recommendations import FRIENDS, RECOMMENDATIONS

#: So many events share a version; with more the lists would be written for longer than others should wait.
AT_ONCE = 200
#: The lists of others follow when no event has come for so long, and after ten times that while they keep coming.
QUIET = "10s"
Pair = tuple[Any, Any]


@on(
    "app.friendship.created",
    "app.friendship.deleted",
    batch=AT_ONCE,
    gather="100ms",
    data={"user_id": "id", "friend_id": "id"},
    outputs=[FRIENDS, RECOMMENDATIONS],
)
def friendship(ctx: EventContext) -> None:
    published = ctx.is_published("friends") and ctx.is_published("recommendations")
    ids = ctx.current("friends", only=[])["user_id"] if published else None
    told = friendships(ctx, ids)
    if not told:
        return
    ctx.start("recommendations", after=QUIET)
    if ids is None:
        return
    with ctx.phase("compile"):
        compute.compile_kernels(ctx.cache_dir, ctx.log, ["people"])
    users = sorted({user for pair in told for user in pair})
    lists = compute.befriended(ctx.current("friends", only=users), told)
    params = ctx.params_of("recommendations")
    found = compute.recommend_now(
        ids, lists, lambda some: ctx.current("friends", only=some), params["weighting"], params["k"]
    )
    ctx.publish("friends", compute.friend_rows(ids, lists), only=users)
    ctx.publish("recommendations", found, only=users)


def friendships(ctx: EventContext, ids: Any) -> dict[Pair, bool]:
    """Of each pair of people (the lower id first) whether they are friends now."""
    told: dict[Pair, tuple[bool, Pair, Any]] = {}
    for event in ctx.events:
        try:
            pair = compute.pair_like(ids, event.data["user_id"], event.data["friend_id"])
        except ValueError as e:
            ctx.refuse(event, str(e))
            continue
        at = event.time and iso(event.time.replace(microsecond=0))
        told[min(pair), max(pair)] = (event.type.endswith(".created"), pair, at)
    both = [direction for pair in told for direction in (pair, pair[::-1])]
    put = [{"user_id": a, "friend_id": b, "at": at} for there, (a, b), at in told.values() if there]
    if ctx.apply("friendships", put, both):
        return {pair: there for pair, (there, _, _) in told.items()}
    found = ctx.lookup("friendships", both)
    return {pair: pair in found or pair[::-1] in found for pair in told}
