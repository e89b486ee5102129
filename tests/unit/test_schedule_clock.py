"""Daylight saving: gaps, overlaps, their policies, and the order of slots in every zone of tzdata."""

import os
import random
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest

from clockmill.schedule import parse
from clockmill.schedule.zones import Zone, find_zone

LONG = os.environ.get("CLOCKMILL_LONG") == "1"
ZONES = sorted(available_timezones() - {"localtime", "Factory", "posixrules"})


def local(expression: str, zone: str, begin: str, days: int = 2, **policy: Any) -> list[str]:
    """The slots of some days as the wall shows them, with their offset."""
    after = datetime.fromisoformat(begin).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(seconds=1)
    found = parse(expression, timezone=zone, **policy).between(after, after + timedelta(days=days))
    return [slot.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for slot in found]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["08 03:00-0400", "09 02:30-0400"]),
        ("0,30 2 * * *", ["08 03:00-0400", "09 02:00-0400", "09 02:30-0400"]),
        ("0 2,3 * * *", ["08 03:00-0400", "09 02:00-0400", "09 03:00-0400"]),
        ("30 2,3 * * *", ["08 03:00-0400", "08 03:30-0400", "09 02:30-0400", "09 03:30-0400"]),
        ("0 */8 * * *", ["08 00:00-0500", "08 08:00-0400", "08 16:00-0400", "09 00:00-0400"]),
        ("* 2 8 * *", []),
        ("0 30 2 8 * *", []),
    ],
)  # fmt: skip
def test_in_the_gap_of_new_york(expression: str, expected: list[str]) -> None:
    assert local(expression, "America/New_York", "2026-03-08")[: len(expected) or 9] == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 1 * * *", ["01 01:30-0400", "02 01:30-0500"]),
        ("30 * 1 11 *", ["01 00:30-0400", "01 01:30-0400", "01 01:30-0500", "01 02:30-0500"]),
        ("*/30 1 1 11 *", ["01 01:00-0400", "01 01:30-0400", "01 01:00-0500", "01 01:30-0500"]),
        ("0 30 1 1 11 *", ["01 01:30-0400", "01 01:30-0500"]),
        ("0 2 * * *", ["01 02:00-0500", "02 02:00-0500"]),
    ],
)
def test_in_the_overlap_of_new_york(expression: str, expected: list[str]) -> None:
    assert local(expression, "America/New_York", "2026-11-01")[: len(expected)] == expected


@pytest.mark.parametrize(
    ("zone", "begin", "expression", "expected"),
    [
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", ["04 02:30+1100", "05 02:15+1100"]),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", ["05 01:45+1100", "06 01:45+1030"]),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 5 4 *", ["05 01:45+1100"]),
        ("Australia/Lord_Howe", "2026-04-05", "45 * 5 4 *", ["05 00:45+1100", "05 01:45+1100", "05 01:45+1030"]),
        ("America/Sao_Paulo", "2018-11-04", "@daily", ["04 01:00-0200", "05 00:00-0200"]),
        ("America/Santiago", "2026-09-06", "30 0 * * *", ["06 01:00-0300", "07 00:30-0300"]),
        ("America/Santiago", "2026-04-04", "30 23 * * *", ["04 23:30-0300", "05 23:30-0400"]),
        ("Asia/Amman", "2022-02-25", "0 0 * * *", ["25 01:00+0300", "26 00:00+0300"]),
        ("Europe/Dublin", "2026-03-29", "30 1 * * *", ["29 02:00+0100", "30 01:30+0100"]),
        ("Europe/Dublin", "2026-10-25", "30 1 * * *", ["25 01:30+0100", "26 01:30+0000"]),
        ("Antarctica/Troll", "2026-03-29", "30 1,2 * * *", ["29 03:00+0200", "30 01:30+0200", "30 02:30+0200"]),
        ("Pacific/Apia", "2011-12-29", "15 3 * * *", ["29 03:15-1000", "31 00:00+1400", "31 03:15+1400"]),
    ],
)  # fmt: skip
def test_the_length_of_a_change_comes_from_tzdata(zone: str, begin: str, expression: str, expected: list[str]) -> None:
    assert local(expression, zone, begin, days=3)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"dst_gap": "run"}, ["08 03:00-0400", "09 02:30-0400"]),
        ({"dst_gap": "skip"}, ["09 02:30-0400"]),
    ],
)
def test_dst_gap_is_the_jobs_choice(policy: dict[str, Any], expected: list[str]) -> None:
    assert local("30 2 * * *", "America/New_York", "2026-03-08", **policy) == expected


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("first", ["01 01:30-0400", "02 01:30-0500"]),
        ("last", ["01 01:30-0500", "02 01:30-0500"]),
        ("both", ["01 01:30-0400", "01 01:30-0500", "02 01:30-0500"]),
    ],
)
def test_dst_overlap_is_the_jobs_choice(overlap: str, expected: list[str]) -> None:
    assert local("30 1 * * *", "America/New_York", "2026-11-01", dst_overlap=overlap)[: len(expected)] == expected


def test_a_job_that_follows_the_clock_is_not_touched_by_the_policies() -> None:
    plain = local("30 * * * *", "America/New_York", "2026-11-01")
    assert local("30 * * * *", "America/New_York", "2026-11-01", dst_gap="skip", dst_overlap="first") == plain


@pytest.mark.parametrize("nickname", ["@daily", "@weekly", "@monthly", "@yearly"])
def test_long_nicknames_have_a_fixed_time(nickname: str) -> None:
    zone = ZoneInfo("America/Havana")  # its overlap shows 00:00 twice, on Sunday 2026-11-01
    begin = datetime(2026, 10, 31, 12, tzinfo=zone).astimezone(UTC)
    slots = list(parse(nickname, timezone="America/Havana").between(begin, begin + timedelta(days=1)))
    assert len(slots) == (0 if nickname == "@yearly" else 1)


def test_hourly_follows_the_clock() -> None:
    assert len(local("@hourly", "America/New_York", "2026-11-01", days=1)) == 24


def test_slots_increase_strictly_around_every_change_of_every_zone() -> None:
    dice = random.Random(5)
    policies = [("run", "first"), ("skip", "last"), ("run", "both")]
    for n, key in enumerate(ZONES):
        gap, overlap = policies[n % 3]
        schedule = parse(["*/20 0-3 * * *", "45 * * * *"][n % 2], timezone=key, dst_gap=gap, dst_overlap=overlap)
        fixed = parse("10,40 0-3,23 * * *", timezone=key, dst_gap=gap, dst_overlap=overlap)
        changes = find_zone(key).changes(0, 4_000_000_000)
        for change in changes if LONG else dice.sample(changes, min(8, len(changes))):
            begin = datetime.fromtimestamp(change, UTC) - timedelta(hours=5)
            for one in (schedule, fixed):
                slots = list(one.between(begin, begin + timedelta(hours=10)))
                assert all(a < b for a, b in pairwise(slots)), (key, begin)


def test_previous_undoes_next_around_every_change_of_every_zone() -> None:
    dice = random.Random(7)
    for key in ZONES:
        schedule = parse("10,40 0-3,23 * * *", timezone=key, dst_overlap=dice.choice(["first", "last", "both"]))
        changes = find_zone(key).changes(0, 4_000_000_000)
        for change in dice.sample(changes, min(4, len(changes))):
            begin = datetime.fromtimestamp(change, UTC) - timedelta(hours=5)
            before = schedule.previous(begin)
            for slot in schedule.between(begin, begin + timedelta(hours=10)):
                assert schedule.previous(slot) == slot
                assert schedule.previous(slot - timedelta(microseconds=1)) == before
                before = slot


def test_offsets_are_those_of_zoneinfo_from_1970_to_2200() -> None:
    dice = random.Random(11)
    for key in ZONES:
        zone, reference = find_zone(key), ZoneInfo(key)
        for instant in [dice.randrange(7_258_118_400) for _ in range(12)]:
            offset = datetime.fromtimestamp(instant, reference).utcoffset()
            assert timedelta(seconds=zone.offset(instant)) == offset, (key, instant)


def test_the_package_tzdata_serves_where_the_system_has_no_zones() -> None:
    zoneinfo.reset_tzpath(to=[])
    try:
        assert Zone("Europe/Oslo").offset(1_783_000_000) == 7_200
    finally:
        zoneinfo.reset_tzpath()


def test_a_far_future_slot_keeps_its_wall_time() -> None:
    slot = parse("0 12 1 7 *", timezone="Europe/Oslo").next(datetime(2150, 1, 1, tzinfo=UTC))
    assert slot == datetime(2150, 7, 1, 10, tzinfo=UTC)


def test_after_the_last_year_there_is_nothing() -> None:
    assert parse("0 0 1 1 *", timezone="America/New_York").next(datetime.max.replace(tzinfo=UTC)) is None


def test_before_1970_there_is_nothing() -> None:
    assert parse("* * * * *").previous(datetime(1969, 12, 31, 23, 59, tzinfo=UTC)) is None


def test_an_instant_in_another_zone_is_the_same_instant() -> None:
    at = datetime(2026, 7, 1, 8, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert parse("0 0 * * *").next(at) == datetime(2026, 7, 1, tzinfo=UTC)


def test_a_fraction_of_a_second_before_a_slot_finds_it() -> None:
    at = datetime(2026, 7, 1, 11, 59, 59, 999_999, tzinfo=UTC)
    assert parse("0 12 * * *").next(at) == datetime(2026, 7, 1, 12, tzinfo=UTC)
