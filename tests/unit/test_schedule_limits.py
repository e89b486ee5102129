"""What is laid around the expressions: intervals, single moments, unions, start and end, exclusions, jitter."""

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from clockmill.errors import ScheduleError
from clockmill.schedule import Schedule, parse

THURSDAY = datetime(2026, 12, 24, tzinfo=UTC)
AFTERWARDS = THURSDAY + timedelta(days=30)


def slots(schedule: Schedule, count: int = 3, after: datetime = THURSDAY) -> list[str]:
    return [f"{slot:%d %H:%M:%S}".removesuffix(":00") for slot in schedule.between(after, AFTERWARDS, count)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@every 90s", ["24 00:01:30", "24 00:03", "24 00:04:30"]),
        ("@every 6h", ["24 06:00", "24 12:00", "24 18:00"]),
        ("@every 1d12h", ["25 12:00", "27 00:00", "28 12:00"]),
        ("@every 1w", ["31 00:00", "07 00:00", "14 00:00"]),
    ],
)
def test_an_interval_counts_from_the_epoch(expression: str, expected: list[str]) -> None:
    assert slots(parse(expression)) == expected


def test_an_interval_counts_from_the_jobs_start() -> None:
    schedule = parse("@every 7h", start=THURSDAY + timedelta(minutes=10))
    assert slots(schedule) == ["24 00:10", "24 07:10", "24 14:10"]


def test_an_interval_takes_no_notice_of_summer_time() -> None:
    begin = datetime(2026, 3, 8, 6, tzinfo=UTC)
    schedule = parse("@every 1h", timezone="America/New_York")
    assert list(schedule.between(begin, begin + timedelta(hours=3))) == [begin + timedelta(hours=h) for h in (1, 2, 3)]


def test_a_moment_is_one_slot_in_the_jobs_zone() -> None:
    schedule = parse("@at 2026-12-24T18:00", timezone="Europe/Oslo")
    assert slots(schedule) == ["24 17:00"]
    assert schedule.previous(AFTERWARDS) == THURSDAY.replace(hour=17)


def test_a_moment_with_an_offset_keeps_it() -> None:
    assert slots(parse("@at 2026-12-24T18:00-05:00", timezone="Europe/Oslo")) == ["24 23:00"]


def test_a_moment_in_a_gap_is_the_first_instant_after_it() -> None:
    schedule = parse("@at 2026-03-08T02:30", timezone="America/New_York")
    assert schedule.previous(AFTERWARDS) == datetime(2026, 3, 8, 7, tzinfo=UTC)


def test_reboot_has_no_slot_and_says_so() -> None:
    schedule = parse("@reboot")
    assert schedule.is_reboot
    assert schedule.next(THURSDAY) is None
    assert schedule.previous(THURSDAY) is None


def test_several_expressions_are_one_schedule_without_doubles() -> None:
    schedule = parse(["0 6 * * *", "0 */6 * * *", "30 6 24 * *"])
    assert slots(schedule, 4) == ["24 06:00", "24 06:30", "24 12:00", "24 18:00"]
    assert schedule.previous(THURSDAY.replace(hour=7)) == THURSDAY.replace(hour=6, minute=30)


def test_expressions_are_kept_as_written() -> None:
    assert parse(["H  * * * *", "@daily"], name="a").expressions == ("H  * * * *", "@daily")


def test_a_prefix_names_the_zone_of_the_schedule() -> None:
    assert parse("TZ=Asia/Tokyo 0 0 * * *").timezone == "Asia/Tokyo"


def test_start_and_end_are_inclusive() -> None:
    schedule = parse("0 * * * *", start=THURSDAY.replace(hour=3), end=THURSDAY.replace(hour=5))
    assert slots(schedule, 9) == ["24 03:00", "24 04:00", "24 05:00"]
    assert schedule.previous(AFTERWARDS) == THURSDAY.replace(hour=5)
    assert schedule.previous(THURSDAY.replace(hour=2)) is None


def test_a_naive_start_is_in_the_jobs_zone() -> None:
    schedule = parse("0 * * * *", timezone="Asia/Tokyo", start=datetime(2026, 12, 24, 12))
    assert slots(schedule, 1) == ["24 03:00"]


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (["2026-12-25"], ["24 12:00", "26 12:00", "27 12:00"]),
        (["2026-12-24..2026-12-26"], ["27 12:00", "28 12:00", "29 12:00"]),
        (["2026-12-24 .. 2026-12-26", "2026-12-28"], ["27 12:00", "29 12:00", "30 12:00"]),
        (["* * * * sat,sun"], ["24 12:00", "25 12:00", "28 12:00"]),
        (["* 12 25 12 *"], ["24 12:00", "26 12:00", "27 12:00"]),
        (["0 13 * * *"], ["24 12:00", "25 12:00", "26 12:00"]),
        (["@daily"], ["24 12:00", "25 12:00", "26 12:00"]),
    ],
)
def test_exclusions_take_slots_out(exclude: list[str], expected: list[str]) -> None:
    assert slots(parse("0 12 * * *", exclude=exclude)) == expected


def test_an_excluded_date_is_a_day_of_the_jobs_zone() -> None:
    schedule = parse("0 */6 * * *", timezone="Asia/Tokyo", exclude=["2026-12-24"])
    assert slots(schedule, 2) == ["24 15:00", "24 21:00"]


def test_previous_steps_over_exclusions_too() -> None:
    schedule = parse("0 12 * * *", exclude=["2026-12-24..2026-12-26"])
    assert schedule.previous(datetime(2026, 12, 27, 11, tzinfo=UTC)) == datetime(2026, 12, 23, 12, tzinfo=UTC)


def test_a_line_without_seconds_excludes_whole_minutes() -> None:
    assert slots(parse("*/20 * * * * *", exclude=["0 * * * *"]), 2) == ["24 00:01", "24 00:01:20"]


def test_a_line_with_seconds_excludes_seconds() -> None:
    assert slots(parse("*/20 * * * * *", exclude=["20 * * * * *"]), 3) == ["24 00:00:40", "24 00:01", "24 00:01:40"]


def test_a_wholly_excluded_schedule_is_never() -> None:
    assert parse("0 12 * * *", exclude=["* * * * *"]).never()


def test_half_a_year_of_excluded_seconds_is_stepped_over() -> None:
    schedule = parse("* * * * * *", exclude=["* 0-11 * 1-6 *", "* 12-23 * 1-6 *"])
    assert schedule.next(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 7, 1, tzinfo=UTC)


def test_an_exclusion_that_is_no_text_is_refused() -> None:
    with pytest.raises(ScheduleError, match="exclude is 5; allowed: a list of dates"):
        parse("0 12 * * *", exclude=[5])  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", ["2026-02-30", "2026-12-26..2026-12-24", "@every 5m", "christmas", "2026-12"])
def test_a_wrong_exclusion_is_refused(wrong: str) -> None:
    with pytest.raises(ScheduleError) as error:
        parse("0 12 * * *", exclude=[wrong])
    assert f"exclude '{wrong}'" in str(error.value)


def test_jitter_delays_the_start_and_not_the_slot() -> None:
    plain, jittered = parse("0 12 * * *", name="a"), parse("0 12 * * *", name="a", jitter=timedelta(minutes=5))
    assert slots(plain) == slots(jittered)


def test_jitter_is_stable_and_below_its_width() -> None:
    jitter = timedelta(minutes=5)
    delays = [parse("@hourly", name=f"job-{n}", jitter=jitter).delay(THURSDAY) for n in range(200)]
    assert delays == [parse("@hourly", name=f"job-{n}", jitter=jitter).delay(THURSDAY) for n in range(200)]
    assert all(timedelta(0) <= delay < jitter for delay in delays)
    assert max(delays) - min(delays) > timedelta(minutes=4)


def test_jitter_differs_from_slot_to_slot() -> None:
    schedule = parse("@hourly", name="a", jitter=timedelta(hours=1))
    assert schedule.delay(THURSDAY) != schedule.delay(THURSDAY + timedelta(hours=1))


def test_without_jitter_there_is_no_delay() -> None:
    assert parse("@hourly").delay(THURSDAY) == timedelta(0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timezone": "Mars/Olympus"}, "time zone is 'Mars/Olympus'"),
        ({"timezone": ""}, "time zone is ''"),
        ({"dst_gap": "jump"}, "dst_gap is 'jump'; allowed: run, skip"),
        ({"dst_overlap": "all"}, "dst_overlap is 'all'; allowed: first, last, both"),
        ({"jitter": timedelta(seconds=-1)}, "jitter"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        parse("@daily", **settings)  # type: ignore[arg-type]


def test_between_gives_at_most_its_limit_and_the_last_instant_itself() -> None:
    schedule = parse("0 0 * * *")
    assert len(list(schedule.between(THURSDAY, AFTERWARDS))) == 30
    assert list(schedule.between(THURSDAY, AFTERWARDS, 0)) == []


def test_a_schedule_takes_less_than_two_kilobytes() -> None:
    """Tables of fields, days and zones are shared; this is what one more schedule with values of its own adds."""
    schedule = parse("H H(0-7) * * 1-5", name="one-job", timezone="Europe/Oslo")
    own = [schedule, schedule.parts, *schedule.parts, schedule.expressions, schedule.expressions[0], schedule.first,
           *(part.pattern for part in schedule.parts)]  # type: ignore[attr-defined]  # fmt: skip
    assert sum(map(sys.getsizeof, own)) < 2_000


def test_answers_come_in_utc() -> None:
    slot = parse("0 0 * * *", timezone="Asia/Tokyo").next(THURSDAY.astimezone(ZoneInfo("Europe/Oslo")))
    assert slot is not None
    assert slot.tzinfo is UTC
