"""Totals and counts by entity, each one SQL query: those below and every [counters.NAME] of the configuration."""

from clockmill import Context, JobError, Output, job

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


@job(schedule="*/5 * * * *", timeout="5m", outputs=[COUNTERS])
def counters(ctx: Context) -> None:
    declared = {name: {"query": query} for name, query in SHIPPED.items()} | dict(ctx.settings("counters"))
    names: list[str] = []
    keys: list[str] = []
    values: list[float] = []
    for done, (name, counter) in enumerate(declared.items()):
        if not counter.get("query"):
            raise JobError(f"[counters.{name}] has no query; write one SELECT of key and value")
        rows = ctx.select(f"counters.{name}", counter["query"], ["key", "value"], counter.get("url"))
        names += [name] * len(rows["key"])
        keys += [str(key) for key in rows["key"].tolist()]
        values += [float(value) for value in rows["value"].tolist()]
        ctx.progress((done + 1) / len(declared), name)
    ctx.publish("counters", {"name": names, "key": keys, "value": values, "as_of": [ctx.as_of] * len(names)})
