"""A local web for the demo: MET Norway, Open-Meteo and feeds on 127.0.0.1, with the headers of the real ones."""

import hashlib
import html
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from clockmill.demo import documents
from clockmill.demo.catalogue import TOPICS

MET_PATH = "/weatherapi/locationforecast/2.0/compact"
OPEN_METEO_PATH = "/v1/forecast"

#: Seconds without a request after which a kept connection ends.
IDLE_S = 30

FEEDS: dict[str, tuple[str, Callable[[str, datetime, str], bytes]]] = {
    "rss": ("application/rss+xml; charset=utf-8", documents.rss),
    "atom": ("application/atom+xml; charset=utf-8", documents.atom),
    "json": ("application/feed+json; charset=utf-8", documents.json_feed),
}


@dataclass(frozen=True)
class Answer:
    """A document, or the reason why there is none."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:20]}"'


class HttpSource:
    """The server, on a thread of its own; also a context manager. `clock` says what hour its documents are of."""

    def __init__(self, port: int = 0, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._server = _Server(port, clock)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"
        self._server.base_url = self.base_url
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "HttpSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def answer(path: str, query: dict[str, list[str]], now: datetime, base_url: str) -> Answer:
    """What the web holds at a path; an unknown path or a bad parameter has its own status."""
    if path == MET_PATH:
        return _met(query, now)
    if path == OPEN_METEO_PATH:
        return _open_meteo(query, now)
    if feed := re.fullmatch(r"/feeds/([a-z]+)\.([a-z]+)", path):
        return _feed(feed[1], feed[2], now, base_url)
    if article := re.fullmatch(r"/articles/([a-z]+)/(\d{1,7})", path):
        return _article(article[1], int(article[2]), base_url)
    return _nothing(path)


def _met(query: dict[str, list[str]], now: datetime) -> Answer:
    point = _point(query, "lat", "lon")
    if point is None:
        return Answer(b"lat and lon are needed, in degrees", status=HTTPStatus.BAD_REQUEST)
    return Answer(documents.met_compact(*point, now), "application/json")


def _open_meteo(query: dict[str, list[str]], now: datetime) -> Answer:
    point = _point(query, "latitude", "longitude")
    variables = [v for v in ",".join(query.get("hourly", [])).split(",") if v]
    unit = query.get("wind_speed_unit", ["kmh"])[-1]
    unknown = [v for v in variables if v not in documents.OPEN_METEO_UNITS]
    if point is None or unknown or unit not in documents.WIND_UNITS:
        what = "latitude and longitude" if point is None else unknown[0] if unknown else "wind_speed_unit"
        body = b'{"error":true,"reason":"Cannot read ' + what.encode("ascii", "replace").replace(b'"', b"'") + b'"}'
        return Answer(body, "application/json; charset=utf-8", HTTPStatus.BAD_REQUEST)
    return Answer(documents.open_meteo(*point, now, variables, unit), "application/json; charset=utf-8")


def _feed(topic: str, kind: str, now: datetime, base_url: str) -> Answer:
    if topic not in TOPICS or kind not in FEEDS:
        return _nothing(f"/feeds/{topic}.{kind}")
    content_type, make = FEEDS[kind]
    return Answer(make(topic, now, base_url), content_type)


def _article(topic: str, number: int, base_url: str) -> Answer:
    if topic not in TOPICS:
        return _nothing(f"/articles/{topic}/{number}")
    one = documents.item(topic, number, base_url)
    title, summary = html.escape(one.title), html.escape(one.summary)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1><p>{summary}</p>'
    )
    return Answer(page.encode(), "text/html; charset=utf-8")


def _nothing(path: str) -> Answer:
    return Answer(f"there is nothing at {path}".encode(), status=HTTPStatus.NOT_FOUND)


def _point(query: dict[str, list[str]], lat: str, lon: str) -> tuple[float, float] | None:
    try:
        north, east = float(query[lat][-1]), float(query[lon][-1])
    except (KeyError, ValueError):
        return None
    return (north, east) if abs(north) <= 90 and abs(east) <= 180 else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    base_url = ""

    def __init__(self, port: int, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "clockmill-demo"
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_GET(self) -> None:
        url, now = urlsplit(self.path), self.server.clock()
        if url.path == MET_PATH and not self.headers.get("User-Agent"):
            # The real one turns away who does not say who they are.
            self._send(Answer(b"a User-Agent that names you is needed", status=HTTPStatus.FORBIDDEN), now)
            return
        self._send(answer(url.path, parse_qs(url.query), now, self.server.base_url), now)

    do_HEAD = do_GET

    def _send(self, found: Answer, now: datetime) -> None:
        fresh = found.status is HTTPStatus.OK and self._has(found, documents.hour_of(now))
        self.send_response(HTTPStatus.NOT_MODIFIED if fresh else found.status)
        if found.status is HTTPStatus.OK:
            self._validators(found, now)
        if not fresh:
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(found.body)))
        self.end_headers()
        if not fresh and self.command != "HEAD":
            self.wfile.write(found.body)

    def _validators(self, found: Answer, now: datetime) -> None:
        hour = documents.hour_of(now)
        self.send_header("Last-Modified", format_datetime(hour, usegmt=True))
        self.send_header("Expires", format_datetime(hour + timedelta(hours=1), usegmt=True))
        self.send_header("ETag", found.etag)

    def _has(self, found: Answer, modified: datetime) -> bool:
        """True when the caller holds this document; its tag decides, its date only where it sends no tag."""
        if tags := self.headers.get("If-None-Match"):
            return tags.strip() == "*" or found.etag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        try:
            return parsedate_to_datetime(self.headers.get("If-Modified-Since", "")) >= modified
        except (ValueError, TypeError):
            return False

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the demo's terminal belongs to the mill."""
