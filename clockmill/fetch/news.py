"""Many feeds, fetched and merged with what is already known of their topics."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from clockmill.errors import FeedError, FetchError, JobError
from clockmill.fetch.feeds import Item
from clockmill.fetch.http import Door, shown
from clockmill.fetch.rows import Row, iso
from clockmill.fetch.sandbox import Sandbox

#: A feed's URL is part of a row's key in SQL.
MAX_URL = 255


@dataclass(frozen=True)
class Subscription:
    """One feed of one topic."""

    topic: str
    url: str

    @property
    def feed(self) -> str:
        """The URL as tables and logs show it."""
        return shown(self.url)


@dataclass(frozen=True)
class Reading:
    """What one feed gave: items and the instant its document was received, or the reason why not."""

    items: Sequence[Item] = ()
    received_at: datetime | None = None
    failure: str = ""


@dataclass(frozen=True)
class Gathered:
    """The topics' rows, newest first, and one line for each feed that failed."""

    rows: list[Row]
    failures: list[str]


def gather(
    subscriptions: Sequence[Subscription], current: Sequence[Row], door: Door, keep: int, parallel: int, now: datetime
) -> Gathered:
    """All feeds, each fetched once; JobError when there are feeds and every one of them fails.

    A feed that fails keeps the rows that it has in `current`; rows of feeds no longer subscribed to are dropped.
    """
    readings = read_all(dict.fromkeys(one.url for one in subscriptions), door, parallel)
    failures = [reading.failure for reading in readings.values() if reading.failure]
    if readings and len(failures) == len(readings):
        raise JobError("no feed could be read: " + " | ".join(failures[:5]))
    return Gathered(merge(subscriptions, readings, current, keep, now), failures)


def read_all(urls: Iterable[str], door: Door, parallel: int) -> dict[str, Reading]:
    """Each URL's reading; `parallel` of them at a time."""
    wanted = list(urls)
    with Sandbox() as sandbox, ThreadPoolExecutor(parallel) as pool:
        return dict(zip(wanted, pool.map(lambda url: _read(url, door, sandbox), wanted), strict=True))


def _read(url: str, door: Door, sandbox: Sandbox) -> Reading:
    if len(shown(url)) > MAX_URL:
        return Reading(failure=f"{shown(url)[:80]}…: the address is longer than {MAX_URL} characters")
    try:
        document = door.get(url)
        items = sandbox.parse(document.body, document.content_type, document.final_url)
    except FetchError as error:
        return Reading(failure=str(error))
    except FeedError as error:
        return Reading(failure=f"{shown(url)}: {error}")
    door.keep(document)
    return Reading(items, document.received_at)


def merge(
    subscriptions: Sequence[Subscription],
    readings: Mapping[str, Reading],
    current: Sequence[Row],
    keep: int,
    now: datetime,
) -> list[Row]:
    """The rows of every topic: its feeds' items over its current rows, newest first, `keep` of them."""
    known: dict[tuple[str, str], dict[str, Row]] = {}
    for row in current:
        known.setdefault((row["topic"], row["feed"]), {})[row["guid"]] = row
    topics: dict[str, dict[tuple[str, str], Row]] = {}
    for one in subscriptions:
        rows = dict(known.get((one.topic, one.feed), {}))
        rows |= _fresh(one, readings[one.url], rows, keep, now)
        topics.setdefault(one.topic, {}).update({(one.feed, guid): row for guid, row in rows.items()})
    return [row for rows in topics.values() for row in newest(rows.values(), keep)]


def newest(rows: Iterable[Row], keep: int) -> list[Row]:
    """At most `keep` rows, newest first; those of one instant in the order of their feed and guid."""
    ordered = sorted(rows, key=lambda row: (row["feed"], row["guid"]))
    return sorted(ordered, key=lambda row: str(row["published_at"]), reverse=True)[:keep]


def _fresh(one: Subscription, reading: Reading, known: Mapping[str, Row], keep: int, now: datetime) -> dict[str, Row]:
    received = reading.received_at or now
    return {item.guid: _row(one, item, known.get(item.guid), received, now) for item in reading.items[:keep]}


def _row(one: Subscription, item: Item, known: Row | None, received: datetime, now: datetime) -> Row:
    published = item.published_at
    if published is None or published > now:
        # Undated, or a date that would hold the top of the list for years: the time of the first sight counts.
        first_seen = known["published_at"] if known else iso(received)
    else:
        first_seen = iso(published)
    return {
        "topic": one.topic,
        "feed": one.feed,
        "guid": item.guid,
        "title": item.title,
        "link": item.link,
        "published_at": first_seen,
        "summary": item.summary,
        "fetched_at": iso(now),
    }
