"""Two referees who know nothing of our engine: cronsim, and a clock that walks every minute as Debian's cron does."""

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import numpy.typing as npt
import pytest
from cronsim import CronSim, CronSimError

from clockmill.schedule import parse

LONG = os.environ.get("CLOCKMILL_LONG") == "1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2037, 12, 1, tzinfo=UTC)
AROUND = timedelta(hours=36)
ZONES = sorted(available_timezones() - {"localtime", "Factory", "posixrules"})

EXPRESSIONS = [
    "* * * * *", "*/5 * * * *", "*/15 * * * *", "*/7 * * * *", "0 * * * *", "30 * * * *", "17 * * * *",
    "1-59/2 * * * *", "0 */2 * * *", "30 */3 * * *", "0 */12 * * *", "*/30 1-3 * * *", "* 2 * * *", "*/10 0 * * *",
    "59 23 * * *", "0 0 * * *", "30 0 * * *", "0 1 * * *", "30 1 * * *", "0 2 * * *", "15 2 * * *", "30 2 * * *",
    "0,30 2 * * *", "0 2,3 * * *", "0 3 * * *", "15 3 * * *", "5 1,2,3 * * *", "10,50 0-4 * * *", "0 0-23 * * *",
    "0-59 0-23 * * *",
    "0 0 * * 0", "30 2 * * sun", "15 1 * * 7", "0 0 1 * *", "30 2 1-7 * *", "0 12 13 * 5", "*/20 2 */2 * 1",
    "0 0 31 * *", "30 0 L * *", "45 23 * 3,10 fri,sat",
]  # fmt: skip

SIX_FIELDS = ["15 30 2 * * *", "0 */20 1-3 * * *", "*/30 0 2 * * *", "0 0 0 * * 0"]

#: cronsim steps through hours that are no whole hour there and loses slots; docs/schedules.md has the whole table.
NOT_FOR_CRONSIM = {"Australia/Lord_Howe", "Australia/LHI"}
Minutes = npt.NDArray[np.int64]


@cache
def transitions(key: str) -> list[datetime]:
    """Instants between FIRST and LAST at which the zone's offset changes, found by asking zoneinfo every six hours."""
    zone, found = ZoneInfo(key), []
    step = timedelta(hours=6)
    now = FIRST
    while now < LAST:
        if now.astimezone(zone).utcoffset() != (now + step).astimezone(zone).utcoffset():
            found.append(now)
        now += step
    return found


def windows(count: int, seed: int) -> Iterator[tuple[str, datetime]]:
    """(zone, middle of a window): all transitions and one random instant a zone, or a fixed sample of them."""
    dice = random.Random(seed)
    zones = ZONES if LONG else dice.sample(ZONES, count)
    for key in zones:
        changes = transitions(key)
        chosen = changes if LONG else dice.sample(changes, min(1, len(changes)))
        yield from ((key, change) for change in chosen)
        yield key, FIRST + timedelta(minutes=dice.randrange(int((LAST - FIRST).total_seconds() // 60)))


def numbers(text: str, low: int, high: int, names: str) -> set[int]:
    """The referee's own reading of one field: names, ranges, steps, lists."""
    for number, word in enumerate(names.split(), low):
        text = text.replace(word, str(number))
    found: set[int] = set()
    for item in text.split(","):
        body, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if body == "*" else body).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class MinuteClock:
    """The wall clock of one zone, minute by minute, from `begin` to `end`; two days before tell what was shown."""

    def __init__(self, key: str, begin: datetime, end: datetime) -> None:
        zone = ZoneInfo(key)
        lead = timedelta(days=2)
        count = int((end - begin + lead) / timedelta(minutes=1))
        self.instants = [begin - lead + timedelta(minutes=n) for n in range(count)]
        self.begin = begin
        walls = [instant.astimezone(zone).replace(tzinfo=None) for instant in self.instants]
        self.wall: Minutes = np.array([(w - datetime(1970, 1, 1)) // timedelta(minutes=1) for w in walls])

    def runs(self, expression: str) -> list[datetime]:
        matches = self.matches(expression, self.wall)
        minute, hour, *_ = expression.split()
        if not (minute.startswith("*") or hour.startswith("*")):
            matches = self.as_fixed_time(expression, matches)
        return [self.instants[i] for i in np.flatnonzero(matches) if self.instants[i] > self.begin]

    def as_fixed_time(self, expression: str, matches: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A minute seen before does not count again; a minute jumped over counts at the first one after the jump."""
        highest = np.maximum.accumulate(self.wall)
        before = np.concatenate(([self.wall[0] - 1], highest[:-1]))
        result = matches & (self.wall > before)
        for i in np.flatnonzero(self.wall > before + 1):
            skipped = np.arange(before[i] + 1, self.wall[i])
            result[i] |= bool(self.matches(expression, skipped).any())
        return result

    def matches(self, expression: str, wall: Minutes) -> npt.NDArray[np.bool_]:
        minute, hour, day, month, weekday = expression.split()
        dates = (wall // 1440).astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        days = (dates - months).astype(int) + 1
        by_weekday = np.isin(
            (wall // 1440 + 4) % 7, [n % 7 for n in numbers(weekday, 0, 7, "sun mon tue wed thu fri sat")]
        )
        if day == "L":
            by_day = dates + 1 == (months + 1).astype("datetime64[D]")
        else:
            by_day = np.isin(days, list(numbers(day, 1, 31, "")))
        starred = day.startswith("*") or weekday.startswith("*")
        right: npt.NDArray[np.bool_] = (
            np.isin(wall % 60, list(numbers(minute, 0, 59, "")))
            & np.isin(wall // 60 % 24, list(numbers(hour, 0, 23, "")))
            & np.isin(months.astype(int) % 12 + 1, list(numbers(month, 1, 12, "")))
            & (by_day & by_weekday if starred else by_day | by_weekday)
        )
        return right


def test_every_minute_around_the_transitions_agrees_with_a_clock_that_walks() -> None:
    seen = 0
    for key, middle in windows(20, seed=1):
        clock = MinuteClock(key, middle - AROUND, middle + AROUND)
        for expression in EXPRESSIONS:
            ours = list(parse(expression, timezone=key).between(middle - AROUND, clock.instants[-1]))
            assert ours == clock.runs(expression), (key, middle, expression)
            seen += len(ours)
    assert seen > 50_000


def test_cronsim_finds_the_same_slots_in_every_zone() -> None:
    seen = 0
    for key, middle in windows(40, seed=2):
        if key in NOT_FOR_CRONSIM:
            continue
        begin = middle - timedelta(hours=13)
        for expression in [*EXPRESSIONS, *SIX_FIELDS]:
            ours = list(parse(expression, timezone=key).between(begin, middle + AROUND, 12))
            theirs = CronSim(expression, begin.astimezone(ZoneInfo(key)))
            assert ours == [next(theirs).astimezone(UTC) for _ in ours], (key, middle, expression)
            seen += len(ours)
    assert seen > 10_000


def random_item(dice: random.Random, low: int, high: int, extra: list[str]) -> str:
    first, last = sorted(dice.sample(range(low, high + 1), 2))
    step = f"/{dice.choice([1, 2, 3, 7, 100])}" if dice.random() < 0.3 else ""
    return dice.choice([f"*{step}", f"{first}{step}", f"{first}-{last}{step}", *extra])


def random_expression(dice: random.Random) -> str:
    """Five fields of the grammar that cronsim shares with us."""
    columns = [(0, 59, []), (0, 23, []), (1, 31, ["L", "LW"]), (1, 12, ["feb"]), (0, 7, ["MON#2", "5L", "0#5", "sun"])]
    fields = ([random_item(dice, *column) for _ in range(dice.choice([1, 1, 2]))] for column in columns)
    return " ".join(",".join(items) for items in fields)


def test_cronsim_reads_the_shared_grammar_alike() -> None:
    dice = random.Random(4)
    compared = 0
    for _ in range(20_000 if LONG else 1_500):
        expression = random_expression(dice)
        begin = FIRST + timedelta(minutes=dice.randrange(7_000_000))
        ours = list(parse(expression).between(begin, begin + timedelta(days=40 * 365), 4))
        try:
            theirs = CronSim(expression, begin)
        except CronSimError:
            assert parse(expression).never(), expression
            continue
        assert ours == [next(theirs) for _ in ours], expression
        compared += len(ours)
    assert compared > 4_000


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 * * friL"])
def test_cronsim_still_refuses_what_the_documentation_says(expression: str) -> None:
    assert parse(expression)
    with pytest.raises(CronSimError):
        CronSim(expression, FIRST)


@pytest.mark.parametrize("expression", ["30 * * * *", "0 */12 * * *"])
def test_cronsim_still_loses_slots_at_lord_howe(expression: str) -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    begin = datetime(2026, 4, 5, tzinfo=zone)
    ours = list(parse(expression, timezone=zone.key).between(begin, begin + timedelta(days=1)))
    theirs = CronSim(expression, begin)
    assert ours != [next(theirs).astimezone(UTC) for _ in ours]
    assert all(slot.astimezone(zone).minute == int(expression.split()[0]) for slot in ours)
