"""Documents from elsewhere: weather forecasts and news feeds, fetched, checked and brought into one shape."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clockmill.errors import FeedError
from clockmill.fetch.rows import iso

__all__ = ["preview"]


def preview(url: str, settings: Mapping[str, Any], cache_dir: Path) -> dict[str, Any]:
    """One document as the jobs would get it, with the table [fetch]: status, validators, and its items if it is a feed.

    Nothing is remembered. Raises FetchError, and ConfigError for the settings; a document that is no feed has the
    reason in `error`.
    """
    from clockmill.fetch.cache import Cache
    from clockmill.fetch.http import Door, shown
    from clockmill.fetch.sandbox import Sandbox
    from clockmill.fetch.settings import FetchSettings

    document = Door(FetchSettings.of(settings), Cache(cache_dir)).get(url)
    head = {
        "url": shown(url),
        "final_url": shown(document.final_url),
        "status": document.status,
        "content_type": document.content_type,
        "bytes": len(document.body),
        "etag": document.entry.etag,
        "last_modified": document.entry.last_modified,
        "unchanged": document.unchanged,
    }
    with Sandbox() as sandbox:
        try:
            items = sandbox.parse(document.body, document.content_type, document.final_url)
        except FeedError as error:
            return {**head, "items": [], "error": str(error)}
    listed = [{**asdict(item), "published_at": item.published_at and iso(item.published_at)} for item in items]
    return {**head, "items": listed, "error": None}
