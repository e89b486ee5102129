import json
from datetime import UTC, datetime, timedelta

import pytest

from clockmill.demo import documents
from clockmill.demo.catalogue import PLACES, TOPICS
from clockmill.fetch.feeds import parse
from clockmill.fetch.met_norway import MetNorway
from clockmill.fetch.open_meteo import ASKED, OpenMeteo

NOW = datetime(2026, 3, 8, 7, 25, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
BASE = "http://127.0.0.1:8099"

forecasts = pytest.mark.parametrize(
    ("provider", "make"),
    [
        (MetNorway(), lambda lat, lon, now: documents.met_compact(lat, lon, now)),
        (OpenMeteo(), lambda lat, lon, now: documents.open_meteo(lat, lon, now, list(ASKED), "ms")),
    ],
)
feeds = pytest.mark.parametrize("make", [documents.rss, documents.atom, documents.json_feed])


@forecasts
@pytest.mark.parametrize("place", PLACES)
def test_a_forecast_is_read_as_the_real_one_is(provider, make, place):
    rows = provider.parse(make(*PLACES[place], NOW), place, NOW)
    assert len(rows) > 80
    assert all(-60 < row["temp_c"] < 55 and 0 <= row["wind_ms"] < 40 and 0 <= row["humidity"] <= 100 for row in rows)
    assert all(0 <= row["wind_deg"] <= 360 for row in rows)


@forecasts
def test_a_forecast_stays_the_same_for_the_hour_and_then_changes(provider, make):
    assert make(59.9, 10.8, NOW) == make(59.9, 10.8, NOW.replace(minute=59))
    assert make(59.9, 10.8, NOW) != make(59.9, 10.8, NOW + timedelta(days=1))


@forecasts
def test_two_places_have_two_forecasts(provider, make):
    rows = [provider.parse(make(*PLACES[place], NOW), "x", NOW) for place in ("oslo", "cairo")]
    assert rows[0][3]["temp_c"] != rows[1][3]["temp_c"]


def test_both_providers_tell_the_same_weather():
    met = MetNorway().parse(documents.met_compact(59.9, 10.8, NOW), "oslo", NOW)
    open_meteo = OpenMeteo().parse(documents.open_meteo(59.9, 10.8, NOW, list(ASKED), "ms"), "oslo", NOW)
    there = {row["valid_at"]: (row["temp_c"], row["wind_ms"], row["precip_mm"], row["symbol"]) for row in open_meteo}
    hours = met[:48]
    assert [there[row["valid_at"]] for row in hours] == [
        (row["temp_c"], row["wind_ms"], row["precip_mm"], row["symbol"]) for row in hours
    ]


def test_the_afternoon_is_warmer_than_the_night():
    day = NOW.replace(hour=0)
    oslo = [
        documents.weather_at(59.9, 10.8, day + timedelta(hours=h, days=d)).temperature
        for d in range(9)
        for h in (2, 14)
    ]
    assert sum(oslo[1::2]) > sum(oslo[::2])


def test_july_is_warm_in_the_north_and_cool_in_the_south():
    january, july = datetime(2026, 1, 15, 12, tzinfo=UTC), datetime(2026, 7, 15, 12, tzinfo=UTC)
    oslo, sydney = PLACES["oslo"], PLACES["sydney"]
    assert documents.weather_at(*oslo, july).temperature > documents.weather_at(*oslo, january).temperature
    assert documents.weather_at(*sydney, july).temperature < documents.weather_at(*sydney, january).temperature


def test_reykjavik_has_light_nights_in_june_and_london_has_not():
    midnight = datetime(2026, 6, 21, 1, tzinfo=UTC)
    assert documents.weather_at(67.0, -15.0, midnight).is_day
    assert not documents.weather_at(*PLACES["london"], midnight).is_day


def test_open_meteo_gives_what_is_asked_for_and_nothing_else():
    answer = json.loads(documents.open_meteo(1.0, 2.0, NOW, ["temperature_2m"]))
    assert (list(answer["hourly"]), len(answer["hourly"]["time"])) == (["time", "temperature_2m"], 168)


@feeds
@pytest.mark.parametrize("topic", TOPICS)
def test_a_feed_is_read_whole(make, topic):
    items = parse(make(topic, NOW, BASE), "", BASE)
    assert len(items) == documents.ITEMS
    assert len({item.guid for item in items}) == documents.ITEMS
    assert all(item.link.startswith(f"{BASE}/articles/{topic}/") for item in items)
    assert all(item.published_at <= NOW for item in items)


@feeds
def test_each_hour_brings_one_new_item(make):
    before, after = (parse(make("sport", now, BASE), "", BASE) for now in (NOW, LATER))
    assert [item.guid for item in after[1:]] == [item.guid for item in before[:-1]]


@feeds
def test_within_the_hour_a_feed_stays_the_same(make):
    assert make("sport", NOW, BASE) == make("sport", NOW.replace(minute=59), BASE)


@pytest.mark.parametrize(
    ("subject", "verb", "said"),
    [("Students", "count", "count"), ("City library", "opens", "opens"), ("Film club", "lends out", "lends out"),
     ("Home side", "recover after", "recovers after"), ("Astronomers", "gives away", "give away")],
)  # fmt: skip
def test_headlines_agree(subject, verb, said):
    assert documents._agreed(subject, verb) == said
