import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clockmill.errors import ScheduleError
from clockmill.schedule import Schedule, parse

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def slots(expression: str, count: int = 3, name: str = "", after: datetime = MONDAY) -> list[str]:
    found = parse(expression, name=name).between(after, datetime(2999, 1, 1, tzinfo=UTC), count)
    return [f"{slot:%Y-%m-%d %H:%M:%S}".removesuffix(":00") for slot in found]


def minutes(expression: str, name: str) -> list[int]:
    before, last = MONDAY.replace(hour=1, minute=59), MONDAY.replace(hour=2, minute=59)
    return [slot.minute for slot in parse(expression, name=name).between(before, last)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("15 3 * * *", ["2026-03-02 03:15", "2026-03-03 03:15", "2026-03-04 03:15"]),
        ("*/20 * * * *", ["2026-03-02 00:20", "2026-03-02 00:40", "2026-03-02 01:00"]),
        ("40/10 * * * *", ["2026-03-02 00:40", "2026-03-02 00:50", "2026-03-02 01:40"]),
        ("0 9-17/4 * * *", ["2026-03-02 09:00", "2026-03-02 13:00", "2026-03-02 17:00"]),
        ("0 0 * jul,AUG *", ["2026-07-01 00:00", "2026-07-02 00:00", "2026-07-03 00:00"]),
        ("0 0 * * fri-sat", ["2026-03-06 00:00", "2026-03-07 00:00", "2026-03-13 00:00"]),
        ("0 0 * * wednesday", ["2026-03-04 00:00", "2026-03-11 00:00", "2026-03-18 00:00"]),
        ("0 0 * * 7", ["2026-03-08 00:00", "2026-03-15 00:00", "2026-03-22 00:00"]),
        ("0 0 * * 0", ["2026-03-08 00:00", "2026-03-15 00:00", "2026-03-22 00:00"]),
        ("0 0 13 * fri", ["2026-03-06 00:00", "2026-03-13 00:00", "2026-03-20 00:00"]),
        ("0 0 */10 * tue", ["2026-03-31 00:00", "2026-04-21 00:00", "2026-07-21 00:00"]),
        ("0 0 13 * +fri", ["2026-03-13 00:00", "2026-11-13 00:00", "2027-08-13 00:00"]),
        ("0 0 13 * ?", ["2026-03-13 00:00", "2026-04-13 00:00", "2026-05-13 00:00"]),
        ("0 0 L * *", ["2026-03-31 00:00", "2026-04-30 00:00", "2026-05-31 00:00"]),
        ("0 0 L-2 * *", ["2026-03-29 00:00", "2026-04-28 00:00", "2026-05-29 00:00"]),
        ("0 0 LW * *", ["2026-03-31 00:00", "2026-04-30 00:00", "2026-05-29 00:00"]),
        ("0 0 15W * *", ["2026-03-16 00:00", "2026-04-15 00:00", "2026-05-15 00:00"]),
        ("0 0 31W * *", ["2026-03-31 00:00", "2026-05-29 00:00", "2026-07-31 00:00"]),
        ("0 0 * * 1#2", ["2026-03-09 00:00", "2026-04-13 00:00", "2026-05-11 00:00"]),
        ("0 0 * * mon#5", ["2026-03-30 00:00", "2026-06-29 00:00", "2026-08-31 00:00"]),
        ("0 0 * * FRI#L", ["2026-03-27 00:00", "2026-04-24 00:00", "2026-05-29 00:00"]),
        ("0 0 * * 5L", ["2026-03-27 00:00", "2026-04-24 00:00", "2026-05-29 00:00"]),
        ("0 0 * * friL", ["2026-03-27 00:00", "2026-04-24 00:00", "2026-05-29 00:00"]),
        ("0 0 1,L * *", ["2026-03-31 00:00", "2026-04-01 00:00", "2026-04-30 00:00"]),
        ("*/90 * * * *", ["2026-03-02 01:00", "2026-03-02 02:00", "2026-03-02 03:00"]),
        ("*/30 * * * * *", ["2026-03-02 00:00:30", "2026-03-02 00:01", "2026-03-02 00:01:30"]),
        ("5 0 12 * * * 2027-2199/2", ["2027-01-01 12:00:05", "2027-01-02 12:00:05", "2027-01-03 12:00:05"]),
        ("@hourly", ["2026-03-02 01:00", "2026-03-02 02:00", "2026-03-02 03:00"]),
        ("@midnight", ["2026-03-03 00:00", "2026-03-04 00:00", "2026-03-05 00:00"]),
        ("@weekly", ["2026-03-08 00:00", "2026-03-15 00:00", "2026-03-22 00:00"]),
        ("@annually", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 0 29 2 +mon", ["2044-02-29 00:00", "2072-02-29 00:00", "2112-02-29 00:00"]),
        ("TZ=Asia/Kolkata 0 12 * * *", ["2026-03-02 06:30", "2026-03-03 06:30", "2026-03-04 06:30"]),
        ("CRON_TZ=Asia/Kolkata 0 12 * * *", ["2026-03-02 06:30", "2026-03-03 06:30", "2026-03-04 06:30"]),
        ("  0\t0  1 1 * ", ["2027-01-01 00:00", "2028-01-01 00:00", "2029-01-01 00:00"]),
        ("0 0 0 1 1 * 2024", []),
        ("0 0 30 2 *", []),
    ],
)
def test_an_expression_means_these_slots(expression: str, expected: list[str]) -> None:
    assert slots(expression) == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("60 * * * *", ["minute", "'60'", "0-59"]),
        ("0 24 * * *", ["hour", "'24'", "0-23"]),
        ("0 0 0 * *", ["day of month", "'0'", "1-31"]),
        ("0 0 * 13 *", ["month", "'13'", "1-12 or JAN-DEC"]),
        ("0 0 * * 8", ["day of week", "'8'", "0-7"]),
        ("0 0 * * mond", ["day of week", "'mond'", "SUN-SAT"]),
        ("61 * * * * *", ["second", "'61'", "0-59"]),
        ("0 0 0 1 1 * 1969", ["year", "'1969'", "1970-2199"]),
        ("*/0 * * * *", ["minute", "'*/0'", "a step of 1 or more"]),
        ("0 0 10-5 * *", ["day of month", "'10-5'", "runs upwards"]),
        ("0 0 /30 * *", ["day of month", "'/30'"]),
        ("0 12 1-15W * *", ["day of month", "'1-15W'"]),
        ("0 0 L/2 * *", ["day of month", "'L/2'"]),
        ("0 0 L-31 * *", ["day of month", "'L-31'", "L-30"]),
        ("0 0 32W * *", ["day of month", "'32W'", "1-31"]),
        ("0 12 +1 * MON", ["day of month", "'+1'"]),
        ("? 12 * * *", ["minute", "'?'"]),
        ("0 0 * * mon#6", ["day of week", "'mon#6'", "d#n"]),
        ("0 0 * * L", ["day of week", "'L'"]),
        ("0 0 H(29-31) * *", ["day of month", "1-28"]),
        ("1,,2 * * * *", ["minute", "''"]),
        ("* * * *", ["4 fields", "5, 6"]),
        ("* * * * * * * *", ["8 fields", "7 (year last)"]),
        ("", ["0 fields"]),
        ("@Daily", ["nickname", "'@Daily'", "lower case", "@daily"]),
        ("@daily 0 0 * * *", ["@daily", "nothing after it"]),
        ("@every", ["@every", "0 words", "@every 90s"]),
        ("@every 90", ["@every", "'90'", "1d12h"]),
        ("@every 0s", ["@every", "'0s'"]),
        ("@at tomorrow", ["@at", "'tomorrow'", "2026-12-24T18:00"]),
        ("TZ=Europe/Olso 0 0 * * *", ["time zone", "'Europe/Olso'", 'did you mean "Europe/Oslo"']),
        ("TZ= 0 0 * * *", ["time zone", "empty"]),
        ("TZ=../etc/passwd 0 0 * * *", ["time zone", "IANA"]),
        ("TZ=America 0 0 * * *", ["time zone", "'America'"]),
        ("0 0 * * *\n", ["day of week", r"'\n'", "line break"]),
        ("0 0 * *\r\n*", ["word 4", r"'\r'", "line break"]),
        ("0 0 * * \x00", ["day of week", r"'\x00'", "control"]),
        ("0 0 * * ſun", ["day of week", r"'\u017f'", "non-ASCII"]),
        ("٣ * * * *", ["minute", "non-ASCII"]),
        ("TZ=Ásia/Tokyo 0 0 * * *", ["time zone", "non-ASCII"]),
        ("0 " + "1," * 3000 + "1 * * *", ["hour has 6001 characters", "4096"]),
        ("0 " * 3000, ["it has 6000 characters", "4096"]),
    ],
)
def test_a_wrong_expression_says_what_was_seen_and_what_is_allowed(expression: str, words: list[str]) -> None:
    with pytest.raises(ScheduleError) as error:
        parse(expression)
    for word in ["schedule ", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["0" * 10_000, "* " * 5_000, "," * 10_000, "*," * 2_000 + " * * * *", "1-2" * 3_000, "\n" * 10_000,
     "TZ=" + "A" * 9_000, "@every " + "9" * 4_000, "@at " + "2" * 4_000, "é" * 10_000, "H(" * 4_000,
     "0 0 * * " + "mon#" * 1_000]
)  # fmt: skip
def test_ten_kilobytes_of_nonsense_are_refused_within_100_ms(text: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(ScheduleError) as error:
        parse(text)
    assert time.perf_counter() - begin < 0.1
    assert len(str(error.value)) < 400


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text("0123456789*/-,LW#?H()~@+ \tTZ=monJAN", max_size=40))
def test_the_parser_raises_nothing_but_schedule_error(text: str) -> None:
    try:
        schedule = parse(text, name="job")
    except ScheduleError:
        return
    assert isinstance(schedule, Schedule)
    assert schedule.explain()


_WORDS = st.lists(st.sampled_from([
    "*", "?", "L", "LW", "L-3", "15W", "1", "7", "59", "*/5", "1-5", "2/9", "H", "H/7", "H(1-5)", "~", "2~9", "mon",
    "MON#2", "5L", "fri#L", "jan", "+1", "2026", "TZ=UTC", "@every", "@at", "@daily", "90s", "2026-12-24T18:00",
    "1,2,L", "-1", "*-3", "1/0",
]), min_size=1, max_size=8)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(_WORDS)
def test_what_parses_finds_its_next_slot(words: list[str]) -> None:
    try:
        schedule = parse(" ".join(words), name="job", timezone="America/New_York")
    except ScheduleError:
        return
    slot = schedule.next(MONDAY)
    assert slot is None or (slot > MONDAY and schedule.previous(slot) == slot)
    assert schedule.explain()


@pytest.mark.parametrize("wrong", [5, None, [], [5], b"0 0 * * *"])
def test_something_that_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(ScheduleError, match="not a text"):
        parse(wrong)  # type: ignore[arg-type]


def test_a_hash_is_the_same_for_the_same_job() -> None:
    assert minutes("H * * * *", "weather") == minutes("H * * * *", "weather")


def test_hashes_spread_jobs_over_the_hour() -> None:
    assert len({minutes("H * * * *", f"job-{n}")[0] for n in range(300)}) > 50


def test_a_hashed_range_keeps_to_its_range() -> None:
    assert {minutes("H(10-14) * * * *", f"job-{n}")[0] for n in range(100)} == {10, 11, 12, 13, 14}


def test_a_hashed_step_keeps_its_distance() -> None:
    found = minutes("H/15 * * * *", "weather")
    assert len(found) == 4
    assert {b - a for a, b in pairwise(found)} == {15}


def test_a_hashed_step_in_a_range_keeps_to_its_range() -> None:
    found = minutes("H(10-40)/10 * * * *", "weather")
    assert 10 <= found[0] < 20
    assert found[-1] <= 40


@pytest.mark.parametrize("expression", ["0 0 H * *", "0 0 ~ * *", "0 0 H(1-31) * *", "0 0 20~31 * *"])
def test_a_hashed_day_lies_in_every_month(expression: str) -> None:
    days = {int(slots(expression, 1, name=f"job-{n}")[0][8:10]) for n in range(200)}
    assert max(days) == 28


def test_a_tilde_is_a_hashed_range() -> None:
    assert minutes("5~9 * * * *", "weather") == minutes("H(5-9) * * * *", "weather")


def test_two_hashed_ranges_in_one_list_give_two_numbers() -> None:
    assert len(minutes("H(0-29),H(30-59) * * * *", "weather")) == 2


def test_an_impossible_date_is_never() -> None:
    assert parse("0 0 30 2 *").never()


def test_a_date_in_the_past_is_not_never() -> None:
    assert not parse("0 0 0 1 1 * 1999").never()
