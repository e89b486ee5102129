"""The one door through which documents are fetched."""

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from clockmill.errors import ConfigError, FetchError
from clockmill.fetch.cache import Cache, Entry
from clockmill.fetch.settings import FetchSettings
from clockmill.version import VERSION

if TYPE_CHECKING:
    import httpx2

    from clockmill.fetch.transport import Deadline

MEGABYTE = 1_000_000
MAX_RAW = 5 * MEGABYTE
MAX_DECODED = 20 * MEGABYTE
MAX_REDIRECTS = 3
#: An Expires header or a Retry-After beyond this is taken for this: a server's slip must not silence a source.
MAX_WAIT = 86_400.0
_SECRET_WORDS = ("key", "token", "secret", "sig", "auth", "pass", "appid")

_REMEDIES = {
    401: "; it wants a login, which feeds and forecasts fetched here do not have",
    403: "; it refuses us: set [fetch] contact, or ask its owner",
    404: "; the address is wrong or the document has moved",
    410: "; the document is gone for good: remove its address",
}

#: (deadline, hosts whose address may be private) -> the transport that carries one hop.
TransportFor = Callable[["Deadline", frozenset[str]], "httpx2.BaseTransport"]


@dataclass(frozen=True)
class Document:
    """A fetched document; `unchanged` when the body is the one of an earlier fetch. Instants are aware UTC."""

    url: str
    final_url: str
    status: int
    content_type: str
    body: bytes
    received_at: datetime
    unchanged: bool
    entry: Entry


class Door:
    """GET with a hard deadline, size caps, hand-followed redirects, validators, and no way into private networks.

    One door may be used by several threads. Nothing is remembered until `keep`: call it once the document proved
    readable, so that a broken answer is asked for again.
    """

    def __init__(
        self,
        settings: FetchSettings,
        cache: Cache,
        clock: Callable[[], float] = time.time,
        transport_for: TransportFor | None = None,
    ) -> None:
        require_extra()
        self._settings, self._cache, self._clock = settings, cache, clock
        self._transport_for = transport_for or checked_transports()

    def get(self, url: str, *, respect_expires: bool = False) -> Document:
        """The document at the URL; FetchError says why there is none. With `respect_expires` an earlier answer
        is returned unasked until the instant that its server named.
        """
        entry, now = self._cache.get(url), self._clock()
        if entry.not_before > now:
            raise FetchError(f"{shown(url)}: the server asked not to be called before {_iso(entry.not_before)}")
        if respect_expires and entry.received and now < entry.expires:
            return _document(entry, unchanged=True)
        try:
            return self._fetch(entry, now)
        except FetchError as error:
            raise FetchError(f"{shown(url)}: {error}") from None

    def keep(self, document: Document) -> None:
        """Remember the document and its validators for the next `get` of its URL."""
        if self._cache.get(document.url) != document.entry:
            self._cache.put(document.entry)

    def _fetch(self, entry: Entry, now: float) -> Document:
        from clockmill.fetch.transport import Deadline

        deadline = Deadline(self._settings.deadline)
        address = entry.url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._hop(address, entry, deadline)
            if not answer.location:
                return self._judge(answer, entry, now)
            address = answer.location
        raise FetchError(f"more than {MAX_REDIRECTS} redirects; configure the address they end at")

    def _hop(self, address: str, entry: Entry, deadline: "Deadline") -> "_Answer":
        import httpx2

        try:
            _check_url(httpx2.URL(address))
            transport = self._transport_for(deadline, self._private_hosts(httpx2.URL(entry.url)))
            with (
                httpx2.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=None) as client,
                client.stream("GET", address, headers=self._headers(address, entry)) as response,
            ):
                return _read(response, address)
        except httpx2.TimeoutException:
            raise deadline.passed() from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise FetchError(f"{_trouble(error)}; check the address and that the server is up") from None

    def _private_hosts(self, configured: "httpx2.URL") -> frozenset[str]:
        """The allow-list, which counts only where the configured address itself is on it: a redirect opens nothing."""
        listed = frozenset(name.lower().rstrip(".") for name in self._settings.allow_private)
        return listed if configured.raw_host.decode("ascii").rstrip(".") in listed else frozenset()

    def _headers(self, address: str, entry: Entry) -> dict[bytes, bytes]:
        contact = self._settings.contact
        agent = f"clockmill/{VERSION}" + (f" ({contact})" if contact else "")
        headers = {b"User-Agent": agent.encode("ascii"), b"Accept": b"*/*", b"Accept-Encoding": b"gzip"}
        if address == entry.final_url:
            validators = {b"If-None-Match": entry.etag, b"If-Modified-Since": entry.last_modified}
            headers |= {name: value.encode("latin-1") for name, value in validators.items() if value}
        return headers

    def _judge(self, answer: "_Answer", entry: Entry, now: float) -> Document:
        if answer.status in (429, 503):
            wait = _retry_after(answer.headers, now)
            self._cache.put(replace(entry, not_before=now + wait))
            raise FetchError(f"the server is overloaded (HTTP {answer.status}); not asked again for {wait:.0f} s")
        if answer.status == 304 and entry.received:
            kept = replace(entry, expires=_expires(answer.headers, now), not_before=0.0)
            return _document(kept, unchanged=True)
        if answer.status not in (200, 203):
            raise FetchError(f"the server answers HTTP {answer.status}{_REMEDIES.get(answer.status, '')}")
        same = bool(entry.received) and answer.body == entry.body
        return _document(_entry(answer, entry.url, now), unchanged=same)


def checked_transports() -> TransportFor:
    """The transports of the real network; they share one TLS context, made at the first use."""
    contexts: list[Any] = []

    def transport_for(deadline: "Deadline", private_hosts: frozenset[str]) -> "httpx2.BaseTransport":
        import httpx2

        from clockmill.fetch.transport import CheckedBackend, CheckedTransport

        if not contexts:
            contexts.append(httpx2.create_ssl_context(trust_env=False))
        return CheckedTransport(CheckedBackend(deadline, private_hosts), contexts[0])

    return transport_for


def shown(url: str) -> str:
    """The URL as logs and tables may show it: without login, and without the values of secret-looking parameters."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return "(unreadable URL)"
    host = parts.netloc.rpartition("@")[2]
    if not any(_secret(key) for key, _ in query):
        return urlunsplit(parts._replace(netloc=host))
    masked = urlencode([(key, "***" if _secret(key) else value) for key, value in query], safe="*")
    return urlunsplit(parts._replace(netloc=host, query=masked))


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """The URL with parameters added to those that it has."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True) + list(parameters.items())
    return urlunsplit(parts._replace(query=urlencode(query, safe=",")))


def require_extra() -> None:
    """ConfigError with the remedy where the libraries for fetching are not installed."""
    for name in ("defusedxml", "feedparser", "httpx2", "nh3"):
        if find_spec(name) is None:
            raise ConfigError(f"{name} is not installed: pip install 'clockmill[fetch]'")


@dataclass(frozen=True)
class _Answer:
    """One hop's answer; `location` is the absolute address of a redirect, the validators are byte-exact (Latin-1)."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    location: str = ""
    etag: str = ""
    modified: str = ""


def _check_url(url: "httpx2.URL") -> None:
    """FetchError when the URL is none that may be called."""
    if url.scheme not in ("http", "https") or not url.host:
        raise FetchError(f'the scheme "{url.scheme}" is not fetched; allowed are http://HOST and https://HOST')
    if url.userinfo:
        raise FetchError("a login inside a URL is not sent; remove the part before the @")


def _read(response: "httpx2.Response", address: str) -> _Answer:
    status, headers = response.status_code, response.headers
    if status in (301, 302, 303, 307, 308) and "location" in headers:
        return _Answer(address, status, headers, location=str(response.request.url.join(headers["location"])))
    if status not in (200, 203):
        return _Answer(address, status, headers)
    body = b"".join(_decoded(_capped(response), headers.get("content-encoding", "")))
    raw = {name.lower(): value.decode("latin-1") for name, value in headers.raw}
    return _Answer(address, status, headers, body, etag=raw.get(b"etag", ""), modified=raw.get(b"last-modified", ""))


def _capped(response: "httpx2.Response") -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > MAX_RAW:
            raise FetchError(f"the document is larger than {MAX_RAW // MEGABYTE} MB; it is not a feed or forecast")
        yield chunk


def _decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return iter(chunks)
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(chunks)
    raise FetchError(f"the content encoding {encoding[:40]!r} was not asked for; only gzip is read")


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker, size = zlib.decompressobj(wbits=31), 0
    try:
        for chunk in chunks:
            part = unpacker.decompress(chunk, MAX_DECODED - size + 1)
            size += len(part)
            if size > MAX_DECODED:
                raise FetchError(f"the document unpacks to more than {MAX_DECODED // MEGABYTE} MB; it is not read")
            yield part
    except zlib.error:
        raise FetchError("the document's gzip packing is broken; ask its owner") from None
    if not unpacker.eof:
        raise FetchError("the document's gzip packing ends too early; ask its owner")


def _entry(answer: _Answer, url: str, now: float) -> Entry:
    return Entry(
        url=url,
        final_url=answer.url,
        status=answer.status,
        content_type=answer.headers.get("content-type", "")[:200],
        etag=answer.etag,
        last_modified=answer.modified,
        expires=_expires(answer.headers, now),
        received=now,
        body=answer.body,
    )


def _document(entry: Entry, *, unchanged: bool) -> Document:
    received = datetime.fromtimestamp(entry.received, UTC)
    return Document(
        entry.url, entry.final_url, entry.status, entry.content_type, entry.body, received, unchanged, entry
    )


def _expires(headers: Mapping[str, str], now: float) -> float:
    return min(_instant(headers.get("expires", "")), now + MAX_WAIT)


def _retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds; a minute where the server does not say."""
    value = headers.get("retry-after", "").strip()
    wait = float(value) if value.isdecimal() and len(value) < 10 else _instant(value) - now
    return min(wait, MAX_WAIT) if wait > 0 else 60.0


def _instant(http_date: str) -> float:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _trouble(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)
