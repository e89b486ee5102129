"""Lengths of time as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockmill.durations import format_duration, parse_duration
from clockmill.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1d", 86400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (" 2m ", 120),
        (7, 7),
    ],
)
def test_a_length_is_read_in_its_units(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "5", "-5m", "5 m", "1h 30m", "5w", "m", "1e3s", True, None, "٣m"])
def test_anything_else_is_refused_with_what_to_write(text):
    with pytest.raises(ConfigError, match="is not a length of time; write for instance 90s, 30m, 1h30m or 1d"):
        parse_duration(text)


@pytest.mark.parametrize("text", [-1, float("nan"), float("inf"), 1e300, "99999999999999d", "1" * 400 + "s"])
def test_a_length_that_no_clock_could_count_is_refused(text):
    with pytest.raises(ConfigError, match="is not a length of time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (2.5, "2.5s"), (12.34, "12s"), (90, "1m30s"), (5400, "1h30m"), (90061, "1d1h1m1s")]
)
def test_a_length_is_written_as_it_would_be_read(seconds, text):
    assert format_duration(timedelta(seconds=seconds)) == format_duration(seconds) == text


@given(st.integers(0, 10**8))
def test_whole_seconds_come_back(seconds):
    assert parse_duration(format_duration(seconds)) == timedelta(seconds=seconds)
