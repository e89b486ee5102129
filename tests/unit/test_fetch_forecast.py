import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from clockmill.errors import ProviderError
from clockmill.fetch.met_norway import MetNorway
from clockmill.fetch.open_meteo import OpenMeteo

NOW = datetime(2026, 3, 8, 7, 5, tzinfo=UTC)


def met(**step):
    details = {"air_temperature": -1.5, "wind_speed": 3.2, "wind_from_direction": 250.1, "relative_humidity": 81.0}
    data = {"instant": {"details": details}, **step}
    units = {"air_temperature": "celsius", "wind_speed": "m/s", "precipitation_amount": "mm"}
    properties = {"meta": {"units": units}, "timeseries": [{"time": "2026-03-08T08:00:00Z", "data": data}]}
    return {"type": "Feature", "properties": properties}


def hourly(units=(), offset=0, **columns):
    declared = {"time": "iso8601", "temperature_2m": "°C", **dict(units)}
    times = ["2026-03-08T08:00", "2026-03-08T09:00"]
    values = {"time": times, "temperature_2m": [1.0, 2.0], **columns}
    return {"utc_offset_seconds": offset, "hourly_units": declared, "hourly": values}


def rows(provider, answer):
    return provider.parse(json.dumps(answer).encode(), "oslo", NOW)


def test_met_norway_gives_a_whole_row():
    hour = {"summary": {"symbol_code": "lightsnow"}, "details": {"precipitation_amount": 0.4}}
    assert rows(MetNorway(), met(next_1_hours=hour)) == [
        {
            "place": "oslo",
            "valid_at": "2026-03-08T08:00:00Z",
            "temp_c": -1.5,
            "wind_ms": 3.2,
            "wind_deg": 250.1,
            "humidity": 81.0,
            "precip_mm": 0.4,
            "symbol": "lightsnow",
            "provider": "met_norway",
            "fetched_at": "2026-03-08T07:05:00Z",
            "attribution": "Weather data by MET Norway, CC BY 4.0",
            "stale": 0,
        }
    ]


def test_late_in_a_forecast_met_norway_has_six_hours_at_a_time():
    six = {"summary": {"symbol_code": "rain"}, "details": {"precipitation_amount": 6.0}}
    (row,) = rows(MetNorway(), met(next_12_hours={"summary": {"symbol_code": "fog"}, "details": {}}, next_6_hours=six))
    assert (row["symbol"], row["precip_mm"]) == ("rain", 6.0)


def test_met_norway_is_asked_with_four_decimals_and_no_more():
    assert MetNorway().address(59.913868, -0.00001).endswith("?lat=59.9139&lon=0.0")


def test_open_meteo_is_asked_for_metres_a_second():
    query = parse_qs(urlsplit(OpenMeteo("http://127.0.0.1:1/v1?apikey=k").address(59.91, 10.75)).query)
    assert (query["wind_speed_unit"], query["latitude"], query["apikey"]) == (["ms"], ["59.91"], ["k"])


@pytest.mark.parametrize(("unit", "value"), [("m/s", 36.0), ("km/h", 10.0), ("mp/h", 16.093), ("kn", 18.52)])
def test_open_meteo_wind_is_converted_from_the_declared_unit(unit, value):
    answer = hourly({"wind_speed_10m": unit}, wind_speed_10m=[36.0, None])
    assert [row["wind_ms"] for row in rows(OpenMeteo(), answer)] == [value, None]


def test_open_meteo_fahrenheit_and_inches_are_converted():
    answer = hourly(
        {"temperature_2m": "°F", "precipitation": "inch"}, temperature_2m=[50.0, 14.0], precipitation=[0, 0.5]
    )
    first, second = rows(OpenMeteo(), answer)
    assert (first["temp_c"], second["temp_c"], first["precip_mm"]) == (10.0, -10.0, 12.7)


def test_open_meteo_rain_of_the_hour_before_stands_in_that_hours_row():
    answer = hourly({"precipitation": "mm"}, precipitation=[0.0, 0.7])
    assert [row["precip_mm"] for row in rows(OpenMeteo(), answer)] == [0.7, None]


def test_open_meteo_local_times_become_utc():
    assert rows(OpenMeteo(), hourly(offset=-18000))[0]["valid_at"] == "2026-03-08T13:00:00Z"


def test_open_meteo_unix_times_are_utc_already():
    answer = hourly({"time": "unixtime"}, offset=3600, time=[1772956800, 1772960400])
    assert rows(OpenMeteo(), answer)[0]["valid_at"] == "2026-03-08T08:00:00Z"


def test_open_meteo_variables_that_are_missing_are_none():
    (row, _) = rows(OpenMeteo(), hourly())
    assert [row[name] for name in ("wind_ms", "wind_deg", "humidity", "precip_mm", "symbol")] == [None] * 5


def test_open_meteo_codes_become_met_norways_words():
    answer = hourly(weather_code=[2, 63], is_day=[0, 1])
    assert [row["symbol"] for row in rows(OpenMeteo(), answer)] == ["partlycloudy_night", "rain"]


def test_an_hour_without_temperature_is_no_row():
    assert len(rows(OpenMeteo(), hourly(temperature_2m=[None, 2.0]))) == 1


@pytest.mark.parametrize("provider", [MetNorway(), OpenMeteo()])
@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"hourly": NaN}',
        b'{"hourly": {"time": 1}, "hourly_units": {}}',
        b'{"properties": {"meta": {"units": []}, "timeseries": 7}}',
        b'{"properties": {"meta": {"units": {}}, "timeseries": []}}',
        b'{"properties": {"meta": {"units": {"air_temperature": "kelvin"}}, "timeseries": []}}',
        b'{"hourly": {"time": [], "temperature_2m": []}, "hourly_units": {"temperature_2m": "K"}}',
        b'{"hourly": {"time": ["x"], "temperature_2m": [1]}, "hourly_units": {"temperature_2m": "K"}}',
        b" " * 2_000_001,
    ],
)
def test_an_answer_that_is_no_forecast_is_a_provider_error(provider, document):
    with pytest.raises(ProviderError, match=provider.name):
        provider.parse(document, "oslo", NOW)


def test_an_error_answer_is_told_in_the_providers_words():
    with pytest.raises(ProviderError, match=r"open_meteo.*Daily API request limit exceeded"):
        rows(OpenMeteo(), {"error": True, "reason": "Daily API request limit exceeded"})
