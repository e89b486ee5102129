import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from clockmill.errors import FetchError, JobError
from clockmill.fetch.settings import WeatherSettings
from clockmill.fetch.weather import Place, gather, places_of, providers

NOW = datetime(2026, 3, 8, 7, tzinfo=UTC)
OSLO, LIMA = Place("oslo", 59.91, 10.75), Place("lima", -12.05, -77.04)

MET = {
    "properties": {
        "meta": {"units": {}},
        "timeseries": [
            {"time": "2026-03-08T08:00:00Z", "data": {"instant": {"details": {"air_temperature": 1.0}}}},
        ],
    }
}
OPEN = {
    "hourly_units": {"temperature_2m": "°C"},
    "hourly": {"time": ["2026-03-08T08:00"], "temperature_2m": [2.0]},
}


class FakeDoor:
    """Answers by host and latitude; what it does not know fails."""

    def __init__(self, answers, status=200):
        self.answers, self.asked, self.status = answers, [], status

    def get(self, url, respect_expires):
        self.asked.append(url)
        for part, answer in self.answers.items():
            if part in url:
                return SimpleNamespace(body=json.dumps(answer).encode(), status=self.status)
        raise FetchError(f"{url}: no answer")

    def keep(self, document):
        pass


def run(door, places=(OSLO, LIMA), current=(), contact="me@example.org"):
    return gather(places, current, door, providers(WeatherSettings(), contact), 1, NOW)


def test_the_first_provider_that_answers_serves_a_place():
    found = run(FakeDoor({"api.met.no": MET, "open-meteo": OPEN}))
    assert [(row["place"], row["provider"]) for row in found.rows] == [("oslo", "met_norway"), ("lima", "met_norway")]
    assert found.failures == []


def test_the_next_provider_takes_over_where_one_fails():
    found = run(FakeDoor({"lat=59.91": MET, "open-meteo": OPEN}))
    assert [row["provider"] for row in found.rows] == ["met_norway", "open_meteo"]
    assert found.failures[0].startswith("met_norway, lima: ")


def test_met_norway_is_not_called_without_a_contact():
    door = FakeDoor({"open-meteo": OPEN})
    assert "[fetch] contact" in run(door, contact="").failures[0]
    assert not any("api.met.no" in url for url in door.asked)


def test_a_place_without_an_answer_keeps_its_rows_marked_stale():
    kept = {"place": "lima", "temp_c": 9.0, "stale": 0}
    found = run(FakeDoor({"lat=59.91": MET}), current=[kept, {"place": "gone", "stale": 0}])
    assert found.rows[1:] == [{"place": "lima", "temp_c": 9.0, "stale": 1}]
    assert found.failures[-1].startswith("lima: no provider answered")


def test_when_no_place_gets_a_forecast_the_run_fails_with_the_reasons():
    with pytest.raises(JobError, match=r"no place has a forecast: met_norway, oslo: .*open_meteo, oslo: "):
        run(FakeDoor({}), places=(OSLO,))


def test_without_places_there_is_nothing_to_do():
    assert run(FakeDoor({}), places=()).rows == []


def test_a_provider_that_failed_three_times_is_given_up_for_the_run():
    door = FakeDoor({"open-meteo": OPEN})
    found = run(door, places=[Place(f"p{n}", n, 0) for n in range(9)])
    assert sum("api.met.no" in url for url in door.asked) == 3
    assert "met_norway: given up for this run after 3 failures in a row" in found.failures


def test_a_point_that_is_not_on_earth_is_named():
    nowhere = places_of({"place": ["nowhere"], "lat": [None], "lon": [10.0]})
    assert "nowhere: latitude nan" in run(FakeDoor({"api.met.no": MET}), places=(OSLO, *nowhere)).failures[0]


def test_a_service_that_ends_soon_is_told_once():
    found = run(FakeDoor({"api.met.no": MET}, status=203))
    assert [line for line in found.failures if "HTTP 203" in line] == found.failures
