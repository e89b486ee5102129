"""The newest items of the application's feeds, by topic."""

import re

from clockmill import Context, Output, job
from clockmill.fetch.cache import Cache
from clockmill.fetch.http import Door
from clockmill.fetch.news import Subscription, gather
from clockmill.fetch.rows import Row, columns_of, rows_of, same
from clockmill.fetch.settings import FetchSettings, NewsSettings

#: So many titles are in the event of a topic.
TOLD = 20
COLUMNS = {
    "topic": "text",
    "feed": "text",
    "guid": "text",
    "title": "text",
    "link": "text",
    "published_at": "time",
    "summary": "text",
    "fetched_at": "time",
}

NEWS = Output(
    "news",
    key="topic",
    order="published_at",
    descending=True,
    item="guid",
    # Two feeds of one topic may both number their items 1, 2, 3.
    identity=("feed", "guid"),
    columns=COLUMNS,
    stamp=("fetched_at",),
    redis="json",
    newest=50,
)


@job(schedule="*/15 * * * *", outputs=[NEWS])
def news(ctx: Context) -> None:
    fetch, settings = FetchSettings.of(ctx.settings("fetch")), NewsSettings.of(ctx.settings("news"))
    read = rows_of(ctx.read("feeds", "topic", "url"))
    subscriptions = [Subscription(str(row["topic"]), str(row["url"])) for row in read]
    before = rows_of(ctx.current("news"))
    with ctx.phase("compute"):
        door = Door(fetch, Cache(ctx.cache_dir / "fetch"))
        found = gather(subscriptions, before, door, settings.keep, fetch.parallel, ctx.now)
    for line in found.failures:
        ctx.log(line)
    if not before or not same(found.rows, before, stamp="fetched_at"):
        ctx.publish("news", columns_of(found.rows, COLUMNS))
        tell_new(ctx, before, found.rows)


def tell_new(ctx: Context, before: list[Row], now: list[Row]) -> None:
    """An event for each topic with new items: `news.<topic>`, which whoever likes may hear."""
    known = {(row["topic"], row["feed"], row["guid"]) for row in before}
    fresh: dict[str, list[str]] = {}
    for row in now:
        if (row["topic"], row["feed"], row["guid"]) not in known:
            fresh.setdefault(str(row["topic"]), []).append(str(row["title"]))
    for topic, titles in fresh.items():
        # A topic may be any text, a word of a type has no dots and no spaces.
        word = re.sub(r"[^\w-]+", "-", topic).strip("-") or "topic"
        ctx.emit(f"news.{word}", {"topic": topic, "new": len(titles), "titles": titles[:TOLD]}, key=topic, keep=False)
