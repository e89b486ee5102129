"""A schedule as systemd's timers, or the reason why those cannot say it.

systemd's calendar knows weekday AND date, skips times that the clock jumps over, and of times that come twice takes
only the first (seen with systemd 252, held by a test): where that differs from what the job would do, it is refused.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from clockmill.errors import ConfigError, ScheduleError
from clockmill.job_spec import JobSpec
from clockmill.schedule import Schedule
from clockmill.schedule.fields import Field, Kind, shorten
from clockmill.schedule.interval import read_duration
from clockmill.schedule.line import Line, pattern_of, read_line
from clockmill.schedule.pattern import NEVER
from clockmill.schedule.zones import Zone, find_zone

#: The zone's changes are looked at for so long; a timer that is older should be made anew.
LOOK_AHEAD = timedelta(days=20 * 366)
#: An interval may take so many calendar lines at most.
MOST_LINES = 24
_HOUR, _DAY, _WEEK = 3_600, 86_400, 604_800
_NAMES = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday
_EVERY_DAY = frozenset(range(1, 32))
_ALL_WEEKDAYS = frozenset(range(7))
BOOT = "@reboot"

SERVICE = """\
[Unit]
Description=clockmill job {name}
[Service]
Type=oneshot
Environment=CLOCKMILL_HOME={home}
ExecStart={bin} run {name} --slot
# 75: the scheduler or another host runs the slot already. The job's own time limit is clockmill's to keep.
SuccessExitStatus=75
TimeoutStartSec=infinity
"""
TIMER = """\
[Unit]
Description=clockmill job {name}: {words}
[Timer]
{when}
# systemd would otherwise gather timers within a minute.
AccuracySec=1s
Persistent={persistent}
[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Days:
    """Dates of a month, and the weekdays they must fall on. `from_end`: the dates count from the month's last day."""

    dates: frozenset[int] = _EVERY_DAY
    weekdays: frozenset[int] = _ALL_WEEKDAYS
    from_end: bool = False


def units(
    jobs: Iterable[tuple[JobSpec, Schedule | None]], *, bin: str, home: str, now: datetime
) -> Iterator[tuple[str, str]]:
    """(file name, text) of a service and a timer for each job. Raises ConfigError with every reason for a refusal."""
    found, refused = [], []
    for spec, schedule in jobs:
        try:
            found += _units_of(spec, schedule, bin, home, now) if schedule else []
        except ScheduleError as e:
            refused.append(f"job {spec.name}: {e}")
    if refused:
        raise ConfigError("systemd cannot run these jobs as configured: " + "; ".join(refused))
    yield from found


def _units_of(spec: JobSpec, schedule: Schedule, bin: str, home: str, now: datetime) -> list[tuple[str, str]]:
    lines = calendar(schedule, now)
    when = "\n".join("OnBootSec=1s" if line == BOOT else f"OnCalendar={line}" for line in lines)
    service = SERVICE.format(name=spec.name, bin=_escaped(bin, "--bin"), home=_escaped(home, "--home"))
    timer = TIMER.format(
        name=spec.name,
        words=schedule.explain().replace("%", "%%"),
        when=when,
        persistent="false" if spec.catch_up == "none" else "true",
    )
    return [(f"clockmill-{spec.name}.service", service), (f"clockmill-{spec.name}.timer", timer)]


def _escaped(path: str, option: str) -> str:
    if any(ord(character) < 33 or character in "\"'\\" for character in path):
        raise ConfigError(f"{option} {path!r}: a unit's line cannot hold blanks, quotes or backslashes in a path")
    return str(Path(path).absolute()).replace("%", "%%").replace("$", "$$")


def calendar(schedule: Schedule, now: datetime) -> list[str]:
    """The OnCalendar expressions that together have the schedule's slots, or BOOT. Raises ScheduleError."""
    text = ", ".join(schedule.expressions)
    for extra, what in ((schedule.exclude, "exclusions"), (schedule.limited, "a start or an end")):
        if extra:
            _refuse(text, what)
    return [line for expression in schedule.expressions for line in _expression(schedule, expression, now)]


def _expression(schedule: Schedule, text: str, now: datetime) -> list[str]:
    line = read_line(text, schedule.name)
    if line.sort == "@reboot":
        return [BOOT]
    if line.sort == "@at":
        slot = schedule.parts[schedule.expressions.index(text)].at_or_after(NEVER)
        return [f"{datetime.fromtimestamp(slot, UTC):%Y-%m-%d %H:%M:%S} UTC"]
    if line.sort == "@every":
        return _interval(text, read_duration(line.argument))
    zone = find_zone(line.zone or schedule.timezone)
    if _hourly(line) and (shift := _shift(zone, now)) is not None:
        minutes = _field(line, "minute")
        shifted = frozenset((minute - shift) % 60 for minute in minutes.values())
        return [f"*-*-* *:{_numbers(shifted, minutes.kind)}:{_seconds(line)} UTC"]
    _check_changes(schedule, line, text, zone, now)
    time = f"{_plain(line, 'hour')}:{_plain(line, 'minute')}:{_seconds(line)} {zone.key}"
    return [f"{_date(line, days)} {time}" for days in _days(line, text)]


def _field(line: Line, name: str) -> Field:
    return next(field for field in line.fields if field.kind.name == name)


def _plain(line: Line, name: str) -> str:
    field = _field(line, name)
    return _numbers(frozenset(field.values()), field.kind)


def _seconds(line: Line) -> str:
    return _plain(line, "second") if len(line.fields) > 5 else "00"


def _numbers(values: frozenset[int], kind: Kind) -> str:
    return _spans(values) if len(values) <= kind.high - kind.low else "*"


def _spans(values: Iterable[int]) -> str:
    """`1,3,5..9`: systemd's way to write a set."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(f"{run[0]:02}..{run[-1]:02}" if len(run) > 2 else ",".join(f"{v:02}" for v in run) for run in runs)


# -- zones


def _hourly(line: Line) -> bool:
    """Every hour of every day: then the zone matters only as far as it moves the minutes."""
    whole = all(len(_field(line, name).values()) == size for name, size in (("hour", 24), ("month", 12)))
    days = line.days.values() == list(range(1, 32)) and line.weekdays.values() == list(range(7))
    return whole and days and len(line.fields) < 7


def _shift(zone: Zone, now: datetime) -> int | None:
    """Minutes by which the zone is ahead within the hour; None where that changes, or is no whole minute."""
    offsets = zone.offsets_between(int(now.timestamp()), int((now + LOOK_AHEAD).timestamp()))
    shifts = {offset % _HOUR for offset in offsets}
    shift = shifts.pop()
    return None if shifts or shift % 60 else shift // 60


def _check_changes(schedule: Schedule, line: Line, text: str, zone: Zone, now: datetime) -> None:
    """Refuses a line with a time in a gap or an overlap in which systemd would do something else."""
    pattern = pattern_of(line)
    for change in zone.changes(int(now.timestamp()), int((now + LOOK_AHEAD).timestamp())):
        before, after = zone.offset(change - 1), zone.offset(change)
        wall = pattern.at_or_after(change + min(before, after))
        if wall >= change + max(before, after):
            continue
        at = f"{datetime.fromtimestamp(wall, UTC):%H:%M on %Y-%m-%d} in {zone.key}"
        if after > before and line.fixed_time and schedule.policy.gap == "run":
            _refuse(text, f"what is to happen at {at}, which the clock jumps over (it would skip it)")
        if after < before and not (line.fixed_time and schedule.policy.overlap == "first"):
            _refuse(text, f"what is to happen at {at}, which comes twice (it would run once)")


# -- days


def _days(line: Line, text: str) -> list[Days]:
    dates, weekdays = _by_date(line.days, text), _by_weekday(line.weekdays)
    if not line.day_and:
        return [*dates, *weekdays]
    return [_both(a, b, text) for a in dates for b in weekdays]


def _by_date(field: Field, text: str) -> list[Days]:
    found = [Days(frozenset(field.values()))] if field.bits else []
    for special in field.specials:
        if special.sort != "L":
            _refuse(text, "W in the day of month")
        found.append(Days(frozenset([special.number + 1]), from_end=True))
    return found


def _by_weekday(field: Field) -> list[Days]:
    found = [Days(weekdays=frozenset(field.values()))] if field.bits else []
    for special in field.specials:
        first = 7 * (special.number - 1) + 1
        week = range(1, 8) if special.number == 0 else range(first, min(first + 7, 32))
        found.append(Days(frozenset(week), frozenset([special.weekday]), from_end=special.number == 0))
    return found


def _both(date: Days, weekday: Days, text: str) -> Days:
    if weekday.dates == _EVERY_DAY:
        return Days(date.dates, date.weekdays & weekday.weekdays, date.from_end)
    if date.dates == _EVERY_DAY:
        return weekday
    if date.from_end != weekday.from_end or not date.dates & weekday.dates:
        _refuse(text, "both day fields at once")
    return Days(date.dates & weekday.dates, weekday.weekdays, date.from_end)


def _date(line: Line, days: Days) -> str:
    year = _plain(line, "year") if len(line.fields) == 7 else "*"
    mark = "~" if days.from_end else "-"
    dates = "*" if days.dates == _EVERY_DAY else _spans(days.dates)
    names = ",".join(_NAMES[day] for day in sorted(days.weekdays))
    date = f"{year}-{_plain(line, 'month')}{mark}{dates}"
    return date if days.weekdays == _ALL_WEEKDAYS else f"{names} {date}"


# -- intervals


def _interval(text: str, seconds: int) -> list[str]:
    """Counted from the epoch in UTC, which has neither gaps nor overlaps: the slots of one day, or week, say all."""
    if seconds == _WEEK:
        return [f"{_NAMES[_EPOCH_WEEKDAY]} *-*-* 00:00:00 UTC"]
    if _DAY % seconds:
        _refuse(text, f"{seconds} seconds, which do not divide the day")
    lines = _within_hour(seconds) if _HOUR % seconds == 0 else _within_day(seconds)
    if len(lines) > MOST_LINES:
        _refuse(text, f"{seconds} seconds in fewer than {len(lines)} lines")
    return lines


def _within_hour(seconds: int) -> list[str]:
    minutes: dict[int, list[int]] = {}
    for slot in range(0, _HOUR, seconds):
        minutes.setdefault(slot % 60, []).append(slot // 60)
    groups: dict[tuple[int, ...], list[int]] = {}
    for second, found in minutes.items():
        groups.setdefault(tuple(found), []).append(second)
    return [f"*-*-* *:{_all_or(found)}:{_all_or(second)} UTC" for found, second in groups.items()]


def _all_or(values: Sequence[int]) -> str:
    return "*" if len(values) == 60 else _spans(values)


def _within_day(seconds: int) -> list[str]:
    hours: dict[int, list[int]] = {}
    for slot in range(0, _DAY, seconds):
        hours.setdefault(slot % _HOUR, []).append(slot // _HOUR)
    return [f"*-*-* {_spans(found)}:{rest // 60:02}:{rest % 60:02} UTC" for rest, found in hours.items()]


def _refuse(text: str, reason: str) -> NoReturn:
    raise ScheduleError(f"schedule {shorten(text)}: systemd cannot say {reason}; let the scheduler run this job")
