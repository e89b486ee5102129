"""What is allowed in a schedule and still hardly meant. Nothing here is an error; each finding says what will happen.

Takes schedules and numbers, asks no database: `crontab check` must answer at once.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from clockmill.durations import format_duration
from clockmill.schedule import Schedule
from clockmill.schedule.fields import Kind
from clockmill.schedule.line import Line, pattern_of, read_line
from clockmill.schedule.pattern import FOREVER
from clockmill.schedule.zones import find_zone

if TYPE_CHECKING:
    from clockmill.job_spec import JobSpec

#: Rule -> what it looks for.
RULES = {
    "never": "an expression without any slot to come",
    "step": "a step larger than its range",
    "day-fields": "two day fields that may not be combined as they look",
    "short-month": "a day that some months do not have",
    "clock-change": "a time within the zone's next gap or overlap",
    "percent": "a percent sign that system cron would read otherwise",
    "same-minute": "heavy jobs that start in one minute",
    "overlap": "runs that last longer than the time between two slots",
}
#: Changes of the clock are looked for so far ahead: every zone that has them has them twice a year.
LOOK_AHEAD = timedelta(days=400)
#: A job counts as heavy when it usually takes so long, or, before it ever ran, when it runs this seldom.
HEAVY = timedelta(seconds=60)
SELDOM = timedelta(hours=6)
#: Heavy jobs are laid beside each other for so long, and so many slots each.
COMPARED, COMPARED_SLOTS = timedelta(days=8), 400
#: The shortest distance is that among so many slots.
SAMPLED_SLOTS = 50
#: Days of each month, in a leap year.
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_STEP = re.compile(r"(?:[Hh]\()?(?P<first>\w*|\*)(?:[-~](?P<last>\w*))?\)?/(?P<step>\d+)", re.ASCII)


@dataclass(frozen=True)
class Finding:
    """One thing to look at again. `rule` is a key of RULES."""

    rule: str
    sentence: str


def lint_schedule(schedule: Schedule, now: datetime) -> Iterator[Finding]:
    """What is odd about the expressions of one schedule."""
    if schedule.next(now) is None and not schedule.is_reboot:
        texts = " + ".join(f'"{text}"' for text in schedule.expressions)
        last = schedule.previous(now)
        yield Finding("never", f"{texts} " + (f"does not come again after {_iso(last)}" if last else "never comes"))
        return
    for text in schedule.expressions:
        line = read_line(text, schedule.name)
        if line.sort == "cron":
            yield from _lint_line(line, text, schedule, now)


def _lint_line(line: Line, text: str, schedule: Schedule, now: datetime) -> Iterator[Finding]:
    pattern = pattern_of(line)
    if pattern.at_or_after(0) >= FOREVER:
        yield Finding("never", f'"{text}" never comes: no month has that day')
        return
    words = dict(zip((field.kind.name for field in line.fields), _field_words(text, line), strict=True))
    for field in line.fields:
        yield from _steps(field.kind, words[field.kind.name])
    yield from _day_fields(line, words)
    yield from _short_months(line, words)
    yield from _clock_changes(line, text, schedule, now)


def _field_words(text: str, line: Line) -> list[str]:
    words = text.split()
    nickname = words[-1].startswith("@")
    return [field.said for field in line.fields] if nickname else words[-len(line.fields) :]


def _steps(kind: Kind, word: str) -> Iterator[Finding]:
    for item in word.removeprefix("+").split(","):
        found = _STEP.fullmatch(item)
        if not found:
            continue
        span = _value(kind, found["last"], kind.high) - _value(kind, found["first"], kind.low)
        if int(found["step"]) > span:
            sentence = f"{kind.name} {item}: the step is larger than its range, only the first number is left"
            yield Finding("step", sentence)


def _value(kind: Kind, word: str | None, otherwise: int) -> int:
    if not word or word in "*Hh":
        return otherwise
    return int(word) if word.isdigit() else kind.names[word.upper()]


def _day_fields(line: Line, words: Mapping[str, str]) -> Iterator[Finding]:
    day, weekday = words["day of month"], words["day of week"]
    if line.together or day in "*?" or weekday in "*?":
        return
    if line.day_and:
        both = f"a day must match day of month {day} and day of week {weekday}, because one of them starts with *"
        yield Finding("day-fields", both)
    else:
        either = f"a day counts when day of month {day} or day of week {weekday} matches; for both write +{weekday}"
        yield Finding("day-fields", either)


def _short_months(line: Line, words: Mapping[str, str]) -> Iterator[Finding]:
    if line.weekdays.values() != list(range(7)) and not line.day_and:
        return
    months = next(field for field in line.fields if field.kind.name == "month").values()
    for item in words["day of month"].split(","):
        day = int(item) if item.isdigit() else 0
        without = [month for month in months if day > MONTH_DAYS[month - 1]]
        if without:
            told = f"{len(without)} of its {len(months)} months end before day {day}"
        elif day == 29 and 2 in months:
            told = "most Februaries end before day 29"
        else:
            continue
        yield Finding("short-month", f"{told}, nothing runs in them; L is the last day of every month")


def _clock_changes(line: Line, text: str, schedule: Schedule, now: datetime) -> Iterator[Finding]:
    if _every_hour(line):
        return
    zone = find_zone(line.zone or schedule.timezone)
    pattern = pattern_of(line)
    seen = set()
    for change in zone.changes(int(now.timestamp()), int((now + LOOK_AHEAD).timestamp())):
        before, after = zone.offset(change - 1), zone.offset(change)
        kind = "gap" if after > before else "overlap"
        begin, end = change + min(before, after), change + max(before, after)
        found = pattern.at_or_after(begin)
        if found < end and kind not in seen:
            seen.add(kind)
            yield Finding("clock-change", _change_sentence(kind, found, zone.key, line.fixed_time, schedule))


def _every_hour(line: Line) -> bool:
    """Such a line is meant to follow the clock, whatever the clock does."""
    return len(next(field for field in line.fields if field.kind.name == "hour").values()) == 24


def _change_sentence(kind: str, wall: int, zone: str, fixed: bool, schedule: Schedule) -> str:
    time = f"{datetime.fromtimestamp(wall, UTC):%H:%M on %Y-%m-%d}"
    if kind == "gap":
        policy = schedule.policy.gap if fixed else "skip"
        does = "it runs right after the jump" if policy == "run" else "it does not run then"
        return f"{time} does not exist in {zone}: {does}" + (f" (dst_gap = {policy})" if fixed else "")
    policy = schedule.policy.overlap if fixed else "both"
    does = {"first": "it runs the first time", "last": "it runs the second time", "both": "it runs both times"}[policy]
    return f"{time} comes twice in {zone}: {does}" + (f" (dst_overlap = {policy})" if fixed else "")


def lint_jobs(
    jobs: Iterable[tuple["JobSpec", Schedule | None]], now: datetime, usual: Mapping[str, timedelta]
) -> Iterator[tuple[str, Finding]]:
    """(names of the jobs, finding). `usual`: how long a job usually takes, where that is known."""
    listed = list(jobs)
    for spec, schedule in listed:
        for finding in _lint_job(spec, schedule, now, usual.get(spec.name)):
            yield spec.name, finding
    yield from _same_minute([(spec, schedule) for spec, schedule in listed if schedule], now, usual)


def _lint_job(spec: "JobSpec", schedule: Schedule | None, now: datetime, usual: timedelta | None) -> Iterator[Finding]:
    if any("%" in word for word in spec.command):
        yield Finding(
            "percent",
            "its command has a % sign: system cron would end the command there, or take the \\ of \\% away; "
            "here it is passed on as it stands",
        )
    if schedule is None:
        return
    yield from lint_schedule(schedule, now)
    period = shortest_period(schedule, now)
    if period is not None and spec.overlap != "allow":
        yield from _too_long(spec, period, usual)


def _too_long(spec: "JobSpec", period: timedelta, usual: timedelta | None) -> Iterator[Finding]:
    then = f"slots that meet a running one follow overlap = {spec.overlap}"
    every = format_duration(period)
    if usual is not None and usual > period:
        yield Finding("overlap", f"it usually takes {format_duration(usual)} and is due every {every}: {then}")
    elif usual is None and spec.timeout > period and spec.timeout != type(spec).timeout:
        yield Finding("overlap", f"it may take {format_duration(spec.timeout)} and is due every {every}: {then}")


def shortest_period(schedule: Schedule, now: datetime) -> timedelta | None:
    """The least time between two of the next slots; None where fewer than two are left."""
    slots = schedule.between(now, datetime.max.replace(tzinfo=UTC), SAMPLED_SLOTS)
    return min((later - earlier for earlier, later in pairwise(slots)), default=None)


def _same_minute(
    jobs: list[tuple["JobSpec", Schedule]], now: datetime, usual: Mapping[str, timedelta]
) -> Iterator[tuple[str, Finding]]:
    minutes: dict[datetime, list[str]] = defaultdict(list)
    for spec, schedule in jobs:
        if _heavy(spec, schedule, now, usual.get(spec.name)):
            slots = schedule.between(now, now + COMPARED, COMPARED_SLOTS)
            for minute in {slot.replace(second=0) for slot in slots}:
                minutes[minute].append(spec.name)
    told: set[tuple[str, ...]] = set()
    for minute, names in sorted(minutes.items()):
        together = tuple(sorted(names))
        if len(together) > 1 and together not in told:
            told.add(together)
            sentence = f"{len(together)} heavy jobs start together, next at {_iso(minute)}; H for a number spreads them"
            yield ", ".join(together), Finding("same-minute", sentence)


def _heavy(spec: "JobSpec", schedule: Schedule, now: datetime, usual: timedelta | None) -> bool:
    if usual is not None:
        return usual >= HEAVY
    period = shortest_period(schedule, now)
    return period is not None and period >= SELDOM


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
