"""JSON Feed 1.x, which feedparser does not know."""

from datetime import UTC, datetime
from typing import Any

from clockmill.errors import FeedError
from clockmill.fetch import strict_json
from clockmill.fetch.xml_check import MAX_ITEMS

_VERSIONS = ("https://jsonfeed.org/version/1", "http://jsonfeed.org/version/1")


def looks_like(document: bytes) -> bool:
    """Whether a document is JSON rather than XML, by its first character."""
    return document.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def entries(document: bytes) -> list[dict[str, Any]]:
    """The items in the shape of the other dialects; FeedError when it is no JSON Feed."""
    try:
        feed = strict_json.loads(document.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise FeedError(f"it is not JSON: {str(error)[:100]}") from None
    version = feed.get("version") if isinstance(feed, dict) else None
    if not (isinstance(version, str) and version.startswith(_VERSIONS) and isinstance(feed.get("items"), list)):
        raise FeedError(f'it is JSON, but no JSON Feed: "version" must begin with {_VERSIONS[0]}, "items" be a list')
    if len(feed["items"]) > MAX_ITEMS:
        raise FeedError(f"it has more than {MAX_ITEMS} items; name a feed of the newest ones")
    return [_entry(item) for item in feed["items"] if isinstance(item, dict)]


def _entry(item: dict[str, Any]) -> dict[str, Any]:
    number = isinstance(item.get("id"), int | float)
    content = item.get("summary") or item.get("content_html") or item.get("content_text")
    return {
        "guid": str(item["id"]) if number else item.get("id"),
        "title": item.get("title"),
        "link": item.get("url") or item.get("external_url"),
        "published": _instant(item.get("date_published") or item.get("date_modified")),
        "summary": content,
    }


def _instant(text: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return None
