import pytest

from clockmill.errors import ConfigError
from clockmill.fetch.settings import FetchSettings, NewsSettings, WeatherSettings


def test_an_empty_table_gives_the_defaults():
    assert FetchSettings.of({}) == FetchSettings("", (), 20.0, 8)
    assert WeatherSettings.of({}).providers == ("met_norway", "open_meteo")
    assert NewsSettings.of({}).keep == 500


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r'\[fetch\] contcat: unknown key; did you mean "contact"'):
        FetchSettings.of({"contcat": "me@example.org"})


def test_a_wrong_type_is_refused_with_what_is_allowed():
    with pytest.raises(ConfigError, match=r"\[news\] keep = '500': allowed is a whole number"):
        NewsSettings.of({"keep": "500"})


def test_true_is_no_whole_number():
    with pytest.raises(ConfigError, match="allowed is a whole number"):
        FetchSettings.of({"parallel": True})


def test_a_contact_cannot_smuggle_a_header():
    with pytest.raises(ConfigError, match=r"\[fetch\] contact"):
        FetchSettings.of({"contact": "me@example.org\r\nX-Other: 1"})


def test_an_unknown_provider_is_refused_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match='unknown provider "met_norwya"; did you mean "met_norway"'):
        WeatherSettings.of({"providers": ["met_norwya"]})


def test_a_base_url_must_be_a_web_address():
    with pytest.raises(ConfigError, match=r"\[weather.urls\] open_meteo"):
        WeatherSettings.of({"urls": {"open_meteo": "file:///etc/passwd"}})


@pytest.mark.parametrize("deadline", ["0s", "11m", "soon"])
def test_a_deadline_is_a_length_of_time_up_to_ten_minutes(deadline):
    with pytest.raises(ConfigError):
        FetchSettings.of({"deadline": deadline})
