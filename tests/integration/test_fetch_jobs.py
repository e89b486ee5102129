import json
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from werkzeug import Response

from clockmill.errors import JobError
from jobs.news import news
from jobs.weather import weather

pytest.importorskip("httpx2")

RSS = (
    '<rss version="2.0"><channel><item><guid>{0}</guid><title>{0}</title>'
    "<pubDate>Sun, 08 Mar 2026 0{1}:00:00 GMT</pubDate></item></channel></rss>"
)
MET = {
    "properties": {
        "meta": {"units": {"air_temperature": "celsius"}},
        "timeseries": [
            {"time": "2026-03-08T08:00:00Z", "data": {"instant": {"details": {"air_temperature": 1.5}}}},
            {"time": "2026-03-08T09:00:00Z", "data": {"instant": {"details": {"air_temperature": 2.5}}}},
        ],
    }
}


class FakeContext:
    """A job's context without a ledger: what is published is at once current."""

    now = datetime(2026, 3, 8, 12, tzinfo=UTC)

    def __init__(self, folder, sources, **settings):
        self.cache_dir, self._sources, self._settings = folder, sources, settings
        self.published, self.told, self.logged, self._current = [], [], [], {}

    def settings(self, table):
        return self._settings.get(table, {})

    def read(self, source, *columns):
        return {name: [row[place] for row in self._sources[source]] for place, name in enumerate(columns)}

    def current(self, output):
        return self._current

    def phase(self, name):
        return nullcontext()

    def log(self, text):
        self.logged.append(text)

    def emit(self, type, data, key=None, keep=True):
        self.told.append(type)

    def publish(self, output, rows):
        self.published.append(rows)
        self._current = rows


@pytest.fixture
def url(httpserver):
    return lambda path: f"http://127.0.0.1:{httpserver.port}{path}"


@pytest.fixture
def context(tmp_path, url):
    def make(feeds=(), places=(), **tables):
        fetch = {"allow_private": ["127.0.0.1"], "contact": "me@example.org", "parallel": 2}
        urls = {"met_norway": url("/met"), "open_meteo": url("/open")}
        sources = {"feeds": [(topic, url(path)) for topic, path in feeds], "places": places}
        return FakeContext(tmp_path, sources, **{"fetch": fetch, "weather": {"urls": urls}, **tables})

    return make


def test_a_topic_holds_the_items_of_its_feeds_newest_first(httpserver, context):
    httpserver.expect_request("/a").respond_with_data(RSS.format("old", 7))
    httpserver.expect_request("/b").respond_with_data(RSS.format("new", 8))
    ctx = context(feeds=[("tech", "/a"), ("tech", "/b")])
    news(ctx)
    (rows,) = ctx.published
    assert rows["guid"] == ["new", "old"]
    assert rows["published_at"] == ["2026-03-08T08:00:00Z", "2026-03-08T07:00:00Z"]


def test_an_unchanged_feed_is_asked_with_its_tag_and_not_published_again(httpserver, context):
    def answer(request):
        if request.headers.get("If-None-Match") == '"1"':
            return Response(status=304)
        return Response(RSS.format("a", 7), headers={"ETag": '"1"'})

    httpserver.expect_request("/a").respond_with_handler(answer)
    ctx = context(feeds=[("tech", "/a")])
    news(ctx)
    news(ctx)
    assert [response.status_code for _, response in httpserver.log] == [200, 304]
    assert len(ctx.published) == 1


def test_a_feed_that_is_not_xml_is_logged_and_loses_nothing_of_the_others(httpserver, context, url):
    httpserver.expect_oneshot_request("/a").respond_with_data(RSS.format("first", 7))
    ctx = context(feeds=[("tech", "/a")])
    news(ctx)
    httpserver.expect_request("/a").respond_with_data("Service unavailable")
    httpserver.expect_request("/b").respond_with_data(RSS.format("second", 8))
    ctx._sources["feeds"].append(("tech", url("/b")))
    news(ctx)
    assert ctx.published[-1]["guid"] == ["second", "first"]
    assert len(ctx.logged) == 1
    assert ctx.logged[0].startswith(f"{url('/a')}: it is not a feed")


def test_when_every_feed_fails_the_run_fails_with_the_reasons(httpserver, context, url):
    httpserver.expect_request("/a").respond_with_data("", status=500)
    with pytest.raises(JobError, match=rf"no feed could be read: {url('/a')}: the server answers HTTP 500"):
        news(context(feeds=[("tech", "/a")]))


def test_no_feeds_are_a_success_without_rows(context):
    ctx = context()
    news(ctx)
    assert ctx.published[0]["guid"] == []


def test_a_forecast_is_published_by_place(httpserver, context):
    httpserver.expect_request("/met", query_string="lat=59.9139&lon=10.7522").respond_with_json(MET)
    ctx = context(places=[("oslo", 59.91389, 10.75224)])
    weather(ctx)
    (rows,) = ctx.published
    assert (rows["place"], rows["temp_c"], rows["provider"]) == (["oslo"] * 2, [1.5, 2.5], ["met_norway"] * 2)
    assert ctx.logged == []


def test_an_unchanged_forecast_is_not_published_again(httpserver, context):
    httpserver.expect_request("/met").respond_with_json(MET)
    ctx = context(places=[("oslo", 59.91, 10.75)])
    weather(ctx)
    weather(ctx)
    assert len(ctx.published) == 1


def test_a_place_whose_providers_fail_keeps_its_forecast_as_stale(httpserver, context):
    for lat in ("59.91", "60.39"):
        httpserver.expect_oneshot_request("/met", query_string={"lat": lat, "lon": "5.0"}).respond_with_json(MET)
    ctx = context(places=[("oslo", 59.91, 5.0), ("bergen", 60.39, 5.0)])
    weather(ctx)
    httpserver.expect_request("/met", query_string={"lat": "59.91", "lon": "5.0"}).respond_with_json(MET)
    httpserver.expect_request("/met").respond_with_data("", status=502)
    httpserver.expect_request("/open").respond_with_data(json.dumps({"error": True, "reason": "limit exceeded"}))
    weather(ctx)
    stale = dict(zip(ctx.published[-1]["place"], ctx.published[-1]["stale"], strict=True))
    assert stale == {"oslo": 0, "bergen": 1}
    assert "met_norway, bergen: " in ctx.logged[0]
    assert "limit exceeded" in ctx.logged[1]


def test_without_a_contact_met_norway_is_not_called_and_the_log_says_why(httpserver, context):
    open_meteo = {
        "hourly_units": {"temperature_2m": "°C"},
        "hourly": {"time": ["2026-03-08T08:00"], "temperature_2m": [2.0]},
    }
    httpserver.expect_request("/open").respond_with_json(open_meteo)
    ctx = context(places=[("oslo", 59.91, 10.75)], fetch={"allow_private": ["127.0.0.1"]})
    weather(ctx)
    assert ctx.published[0]["provider"] == ["open_meteo"]
    assert "[fetch] contact" in ctx.logged[0]
