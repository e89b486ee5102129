"""Totals and counts by entity, each one SQL query: those below and every [counters.NAME] of the configuration."""

from collections.abc import Mapping
from typing import Any

from clockmill import Context, JobError, Output, counting, job
from clockmill.durations import parse_duration
from db.sources import used
from db.watermarks import Part

COUNTERS = Output(
    "counters",
    key="name",
    item="key",
    score="value",
    columns={"name": "text", "key": "text", "value": "float", "as_of": "time"},
    stamp=("as_of",),
    redis="hash",
    redis_key="counter",
)

#: {posts} stands for the mapped source. A friendship is undirected, given in one direction or in both.
SHIPPED = {
    "users": "SELECT 'total' AS key, count(*) AS value FROM {users}",
    "posts": "SELECT 'total' AS key, count(*) AS value FROM {posts}",
    "messages": "SELECT 'total' AS key, count(*) AS value FROM {messages}",
    "likes": "SELECT 'total' AS key, count(*) AS value FROM {likes}",
    "posts_by_user": "SELECT user_id AS key, count(*) AS value FROM {posts} GROUP BY user_id",
    "unread_by_user": (
        "SELECT recipient_id AS key, count(*) AS value FROM {messages} "
        'WHERE CASE WHEN "read" THEN 1 ELSE 0 END = 0 GROUP BY recipient_id'
    ),
    "friends_by_user": (
        "SELECT user_id AS key, count(*) AS value FROM ("
        "SELECT user_id, friend_id FROM {friendships} WHERE user_id <> friend_id "
        "UNION SELECT friend_id, user_id FROM {friendships} WHERE user_id <> friend_id) AS pairs GROUP BY user_id"
    ),
}


#: Of these the counts of new rows add to what was counted before, where their source is append_only.
ADDITIVE = ("users", "posts", "messages", "likes", "posts_by_user")


@job(schedule="*/5 * * * *", timeout="5m", params={"recount": "24h", "full": False}, outputs=[COUNTERS])
def counters(ctx: Context) -> None:
    shipped = {name: {"query": query, "additive": name in ADDITIVE} for name, query in SHIPPED.items()}
    declared = shipped | dict(ctx.settings("counters"))
    before = ctx.basis("counters", {"counters": 1})
    standings = counting.from_json(before.arrays["standings"][0]) if before else {}
    standings = {name: standing for name, standing in standings.items() if name not in before.renewed}
    found: dict[str, counting.Counted] = {}
    for done, (name, counter) in enumerate(declared.items()):
        found[name] = counted(ctx, name, counter, standings.get(name))
        ctx.progress((done + 1) / len(declared), name)
        if found[name].drift:
            ctx.log(counting.told(name, found[name].drift))
    found |= tallied(ctx, declared)
    names = [name for name, one in found.items() for _ in one.values]
    keys = [key for one in found.values() for key in one.values]
    values = [value for one in found.values() for value in one.values.values()]
    ctx.publish(
        "counters",
        {"name": names, "key": keys, "value": values, "as_of": [ctx.as_of] * len(names)},
        basis={"standings": counting.kept({name: one.standing for name, one in found.items() if one.standing})},
        why=counting.summary(found),
    )


def tallied(ctx: Context, declared: Mapping[str, Any]) -> dict[str, counting.Counted]:
    """What other jobs have counted while they worked."""
    rows, found = ctx.counted(), dict[str, dict[str, float]]()
    for name, key, value in zip(rows["name"], rows["key"], rows["value"], strict=True):
        found.setdefault(name, {})[key] = value
    for name in found.keys() & declared.keys():
        ctx.log(f"counter {name}: a query and a job count under this name; the query's value is published, rename one")
    return {name: counting.Counted(values) for name, values in found.items() if name not in declared}


def counted(
    ctx: Context, name: str, counter: Mapping[str, Any], standing: counting.Standing | None
) -> counting.Counted:
    query, url = counter.get("query"), counter.get("url")
    if not query:
        raise JobError(f"[counters.{name}] has no query; write one SELECT of key and value")
    sources = used(query)
    if counter.get("additive") and len(sources) != 1:
        raise JobError(f"[counters.{name}] additive: the query names {sources or 'no source'}; allowed: one, once")

    def count(part: Part) -> counting.Counts:
        parts = {sources[0]: part} if part != Part() else None
        rows = ctx.select(f"counters.{name}", query, ["key", "value"], url, parts)
        return counting.values_of(rows["key"].tolist(), rows["value"].tolist())

    def furthest(since: str | None) -> str | None:
        return ctx.watermark(sources[0], since, url)

    if not counter.get("additive"):
        return counting.Counted(count(Part()))
    published = ctx.current("counters", only=[name]) if standing else None
    values = counting.values_of(published["key"].tolist(), published["value"].tolist()) if published else None
    digest = counting.digest_of([query, url, ctx.settings("sources").get(sources[0], {})])
    recount = parse_duration(ctx.params["recount"])
    return counting.keep_count(count, furthest, values, standing, digest, ctx.now, recount)
