"""A feed of any dialect, as plain items."""

import calendar
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from clockmill.errors import FeedError
from clockmill.fetch import json_feed, xml_check
from clockmill.fetch.text import plain, storable

MAX_TITLE = 300
MAX_SUMMARY = 1_000
MAX_LINK = 2_000
#: A longer guid is replaced by its hash: it becomes part of a key in SQL.
MAX_GUID = 250


@dataclass(frozen=True)
class Item:
    """One news item: plain text, an http(s) link or none, and the aware UTC instant that the feed states, if any."""

    guid: str
    title: str
    link: str
    published_at: datetime | None
    summary: str


def parse(document: bytes, content_type: str = "", url: str = "") -> list[Item]:
    """The items of an RSS, RDF, Atom or JSON feed in its own order, each guid once; FeedError when it is none.

    `url` is where the document came from: relative links are resolved against it.
    """
    try:
        found = json_feed.entries(document) if json_feed.looks_like(document) else _entries(document, content_type)
        items = [_item(entry, url) for entry in found]
    except FeedError:
        raise
    except Exception as error:  # a stranger's bytes in a foreign parser: whatever it throws, this feed cannot be read
        raise FeedError(f"it cannot be read ({type(error).__name__}); ask its owner to repair it") from error
    return list({item.guid: item for item in reversed(items)}.values())[::-1]


def _entries(document: bytes, content_type: str) -> list[Mapping[str, Any]]:
    import feedparser
    from feedparser.encodings import convert_to_utf8

    if document.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise FeedError("it is a web page, not a feed; give the address of the page's RSS or Atom feed")
    headers = {"content-type": content_type} if content_type else {}
    # What is checked must be what is parsed, so the encoding is settled first.
    text = convert_to_utf8(headers, document, {}) if document.strip() else b""
    text = xml_check.without_rss_091_doctype(text)
    xml_check.check(text)
    # Without the document's address: feedparser would make it part of guids, and they would change as the feed moves.
    utf8 = {"content-type": "application/xml; charset=utf-8"}
    feed = feedparser.parse(io.BytesIO(text), response_headers=utf8, sanitize_html=False, resolve_relative_uris=False)
    if not feed.get("version") and not feed["entries"]:
        raise FeedError(f"it is not a feed: it begins with {_beginning(document)}; give the address of its RSS or Atom")
    return [_plain_entry(entry) for entry in feed["entries"]]


def _plain_entry(entry: Any) -> dict[str, Any]:
    content = entry.get("content") or [{}]
    guid, link = entry.get("id"), entry.get("link")
    return {
        "guid": guid,
        "title": entry.get("title"),
        # An RSS guid stands in for a missing link; unless it says otherwise it is one, but many are only numbers.
        "link": None if link == guid and "://" not in str(link) else link,
        "published": _instant(entry.get("published_parsed") or entry.get("updated_parsed")),
        "summary": entry.get("summary") or content[0].get("value"),
    }


def _item(entry: Mapping[str, Any], url: str) -> Item:
    title = plain(_text(entry["title"]), MAX_TITLE)
    link = _web_link(_text(entry["link"]), url)
    summary = plain(_text(entry["summary"]), MAX_SUMMARY)
    guid = " ".join(storable(_text(entry["guid"])).split()) or link
    return Item(_guid(guid, title or summary), title or link, link, _sane(entry["published"]), summary)


def _guid(given: str, title: str) -> str:
    if given and len(given) <= MAX_GUID:
        return given
    return "sha256:" + hashlib.sha256((given or title).encode("utf-8")).hexdigest()


def _web_link(given: str, url: str) -> str:
    """An absolute http(s) URL, or nothing."""
    link = storable(given).strip()
    try:
        link = urljoin(url, link) if link else ""
        parts = urlsplit(link)
    except ValueError:
        return ""
    usable = parts.scheme in ("http", "https") and parts.netloc and len(link) <= MAX_LINK
    return parts.geturl().replace(" ", "%20") if usable else ""


def _instant(parsed: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC) if parsed else None
    except (ValueError, OverflowError, TypeError, OSError):
        return None


def _sane(instant: datetime | None) -> datetime | None:
    return instant if instant is not None and 1970 <= instant.year <= 9000 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _beginning(document: bytes) -> str:
    start = document.lstrip()[:40].decode("utf-8", "replace")
    return repr(plain(start, 40) or storable(start)) if start else "nothing (it is empty)"
