"""The demo's HTTP source over a real loopback connection."""

import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest

from clockmill.demo.http_source import MET_PATH, OPEN_METEO_PATH, HttpSource

NOW = datetime(2026, 3, 8, 7, 25, tzinfo=UTC)
MET = f"{MET_PATH}?lat=59.9139&lon=10.7522"
FEED = "/feeds/technology.rss"


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(clock):
    with HttpSource(clock=clock) as served:
        yield served


def get(source, path, method="GET", **headers):
    """(status, headers, body); underscores in header names stand for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(source.base_url + path, headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_it_listens_on_the_loopback_only(source):
    assert source.base_url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (MET, "application/json"),
        (f"{OPEN_METEO_PATH}?latitude=1&longitude=2&hourly=temperature_2m", "application/json; charset=utf-8"),
        (FEED, "application/rss+xml; charset=utf-8"),
        ("/feeds/science.atom", "application/atom+xml; charset=utf-8"),
        ("/feeds/business.json", "application/feed+json; charset=utf-8"),
        ("/articles/sport/492175", "text/html; charset=utf-8"),
    ],
)
def test_a_document_says_how_long_it_is_fresh(source, path, content_type):
    status, headers, body = get(source, path)
    assert (status, headers["Content-Type"], len(body)) == (200, content_type, int(headers["Content-Length"]))
    assert headers["Last-Modified"] == "Sun, 08 Mar 2026 07:00:00 GMT"
    assert headers["Expires"] == "Sun, 08 Mar 2026 08:00:00 GMT"


def test_a_tag_that_is_held_is_not_sent_again(source):
    tag = get(source, FEED)[1]["ETag"]
    status, headers, body = get(source, FEED, If_None_Match=f'"other", W/{tag}')
    assert (status, headers["ETag"], body) == (304, tag, b"")


def test_a_date_that_is_held_is_not_sent_again(source):
    assert get(source, FEED, If_Modified_Since="Sun, 08 Mar 2026 07:00:00 GMT")[0] == 304
    assert get(source, FEED, If_Modified_Since="Sun, 08 Mar 2026 06:59:59 GMT")[0] == 200


def test_an_old_tag_decides_against_a_new_date(source):
    status, _, _ = get(source, FEED, If_None_Match='"old"', If_Modified_Since="Sun, 08 Mar 2026 07:00:00 GMT")
    assert status == 200


def test_a_date_that_cannot_be_read_asks_for_the_document(source):
    assert get(source, FEED, If_Modified_Since="yesterday")[0] == 200


def test_the_next_hour_brings_another_document(source, clock):
    tag = get(source, FEED)[1]["ETag"]
    clock.now = NOW.replace(hour=8)
    status, headers, _ = get(source, FEED, If_None_Match=tag)
    assert (status, headers["Last-Modified"]) == (200, "Sun, 08 Mar 2026 08:00:00 GMT")


def test_head_sends_the_head_alone(source):
    status, headers, body = get(source, FEED, method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1_000


def test_links_of_a_feed_lead_somewhere(source):
    link = get(source, FEED)[2].decode().split("<link>")[2].split("</link>")[0]
    assert get(source, link.removeprefix(source.base_url))[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/feeds/nothing.rss", 404),
        ("/feeds/sport.xml", 404),
        ("/articles/nothing/1", 404),
        (MET_PATH, 400),
        (f"{MET_PATH}?lat=north&lon=2", 400),
        (f"{MET_PATH}?lat=91&lon=2", 400),
        (f"{MET_PATH}?lat=nan&lon=2", 400),
        (f"{OPEN_METEO_PATH}?latitude=1&longitude=2&hourly=gold", 400),
        (f"{OPEN_METEO_PATH}?latitude=1&longitude=2&wind_speed_unit=bft", 400),
    ],
)
def test_what_it_has_not_it_refuses(source, path, status):
    assert get(source, path)[0] == status


def test_the_weather_office_wants_to_know_who_asks(source):
    assert get(source, MET, User_Agent="")[0] == 403
