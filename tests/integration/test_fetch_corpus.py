"""Real and deliberately broken documents, which lie beside the checkout."""

import json
from datetime import UTC, datetime

import pytest

from clockmill.errors import FeedError
from clockmill.fetch.feeds import parse
from clockmill.fetch.open_meteo import OpenMeteo


def test_every_feed_is_read_or_refused_and_nothing_else(data):
    read = refused = items = 0
    for file in sorted((data / "feeds").rglob("*")):
        if file.is_file():
            try:
                items += len(parse(file.read_bytes(), "", "http://example.org/"))
                read += 1
            except FeedError:
                refused += 1
    assert read > 2_700
    assert items > 1_600
    assert refused > 600


def test_no_item_of_any_feed_carries_markup_or_a_foreign_link(data):
    for file in sorted((data / "feeds").rglob("*.xml")):
        try:
            items = parse(file.read_bytes())
        except FeedError:
            continue
        for item in items:
            assert "<script" not in (item.title + item.summary).lower(), file
            assert item.link == "" or item.link.startswith(("http://", "https://")), file


def test_podcast_items_are_those_that_another_parser_finds(data):
    folder = data / "feeds" / "podcastparser" / "tests" / "data"
    compared = 0
    for file in sorted(folder.glob("*.rss")):
        expected = json.loads(file.with_suffix(".json").read_text())["episodes"]
        found = {item.guid: item for item in parse(file.read_bytes())}
        for episode in expected:
            if episode["guid"] in found and episode.get("published"):
                compared += 1
                assert found[episode["guid"]].published_at == datetime.fromtimestamp(episode["published"], UTC), file
    assert compared > 0


@pytest.mark.parametrize("folder", ["blog_rss", "blog_atom"])
def test_successive_versions_of_a_feed_gain_and_lose_the_ids_they_should(data, folder):
    before: set[str] = set()
    for version in json.loads((data / "feeds" / folder / "manifest.json").read_text()):
        ids = {item.guid for item in parse((data / "feeds" / folder / version["file"]).read_bytes())}
        assert len(ids) == version["items"]
        if before:
            assert (len(ids - before), len(before - ids)) == (version["new_ids_vs_prev"], version["gone_ids_vs_prev"])
        before = ids


@pytest.mark.parametrize("folder", ["", "ny_6pm_before_gmt"])
def test_a_recorded_forecast_comes_out_in_our_units(data, folder):
    file = data / "weather" / "open-meteo" / folder / "open_meteo_hourly_forecast.json"
    document = file.read_bytes()
    rows = OpenMeteo().parse(document, "here", datetime(2026, 1, 1, tzinfo=UTC))
    hourly = json.loads(document)["hourly"]
    assert [row["temp_c"] for row in rows] == hourly["temperature_2m"]
    assert [row["wind_ms"] for row in rows] == [round(wind / 3.6, 3) for wind in hourly["wind_speed_10m"]]
    assert rows[0]["valid_at"] == hourly["time"][0] + ":00Z"
    assert rows[1]["wind_deg"] is None
