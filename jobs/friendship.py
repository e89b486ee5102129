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
    graph = known_graph(ctx)
    told = friendships(ctx, graph.ids if graph else None)
    if told:
        ctx.start("recommendations", after=QUIET)
    if not told or graph is None:
        return
    with ctx.phase("compile"):
        compute.compile_kernels(ctx.cache_dir, ctx.log, ["people"])
    params = ctx.params_of("recommendations")
    lists = compute.befriended(graph, told)
    now = compute.with_friends(graph, lists)
    only = compute.numbers(now, list(lists))
    found = compute.recommend(now, params["weighting"], params["k"], threads=1, only=only)
    ctx.publish("friends", compute.friend_rows(graph.ids, lists), only=list(lists))
    ctx.publish("recommendations", compute.or_popular_people(now, found, params["k"], only), only=list(lists))


def known_graph(ctx: EventContext) -> compute.Graph | None:
    """Everybody's friends as they are published, None before the first run: kept in memory, for a list hangs on
    thousands of rows of others, and brought up to date by the lists that changed since."""
    since: int
    graph: compute.Graph | None
    since, graph = ctx.memory.get("graph", (0, None))
    version, changed = ctx.changed("friends", since)
    if not version or not ctx.changed("recommendations")[0]:
        return None
    if graph is None or changed is None:
        rows = ctx.current("friends")
        graph = compute.friendship_graph(rows["user_id"], rows["friend_id"])
    elif changed:
        graph = compute.with_friends(graph, compute.friend_lists(ctx.current("friends", only=changed), changed))
    ctx.memory["graph"] = (version, graph)
    return graph


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
