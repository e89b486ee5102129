"""A schedule as lines of Debian's cron, or the reason why that cron cannot say it."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from clockmill.errors import ScheduleError
from clockmill.schedule.fields import shorten
from clockmill.schedule.interval import read_duration
from clockmill.schedule.line import Line, read_line
from clockmill.schedule.zones import Policy, find_zone

if TYPE_CHECKING:
    from clockmill.schedule.schedule import Schedule

_HOUR, _DAY, _WEEK = 3_600, 86_400, 604_800
_EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday
_DEBIAN = Policy("run", "first")
#: A zone's offsets are looked at over the last two years and the coming twenty.
_LOOK_BACK, _LOOK_AHEAD = timedelta(days=730), timedelta(days=7_305)


def crontab_lines(schedule: "Schedule") -> list[str]:
    """One line an expression, without a command; to be read in the zone `schedule.timezone`."""
    _refuse_extras(schedule)
    return [_line(schedule, text) for text in schedule.expressions]


def _refuse_extras(schedule: "Schedule") -> None:
    text = ", ".join(schedule.expressions)
    if schedule.exclude:
        _refuse(text, "exclusions")
    if schedule.jitter:
        _refuse(text, "jitter")
    if schedule.limited:
        _refuse(text, "a start or an end")


def _line(schedule: "Schedule", text: str) -> str:
    line = read_line(text, schedule.name)
    if line.sort == "@reboot":
        return "@reboot"
    if line.sort == "@at":
        _refuse(text, "a single moment")
    if line.sort == "@every":
        return _interval_line(text, read_duration(line.argument), schedule.timezone)
    if line.zone and line.zone != schedule.timezone:
        _refuse(text, "a time zone of its own beside another")
    return _field_line(text, line, schedule)


def _field_line(text: str, line: Line, schedule: "Schedule") -> str:
    if len(line.fields) == 7:
        _refuse(text, "a year")
    if len(line.fields) == 6:
        _refuse(text, "seconds")
    if line.together and not (line.days.starred or line.weekdays.starred):
        _refuse(text, "both day fields at once (+)")
    if line.fixed_time and schedule.policy != _DEBIAN and len(_offsets(schedule.timezone)) > 1:
        _refuse(text, f"dst_gap = {schedule.policy.gap} with dst_overlap = {schedule.policy.overlap}")
    for field in line.fields:
        if not field.said:
            _refuse(text, f"L, W or # in the {field.kind.name}")
    return " ".join(field.said for field in line.fields)


def _interval_line(text: str, seconds: int, timezone: str) -> str:
    """Counted from the epoch in UTC, so the zone's offset must not move it within the hour, day or week it divides."""
    offsets = _offsets(timezone)
    offset = min(offsets)
    if seconds % 60 or any((other - offset) % seconds for other in offsets) or offset % 60:
        _refuse(text, f"{seconds} seconds of elapsed time in {timezone}")
    first = offset % seconds // 60
    if seconds <= _HOUR and _HOUR % seconds == 0:
        return f"{_every(first, seconds // 60, 59)} * * * *"
    if seconds % _HOUR == 0 and _DAY % seconds == 0:
        return f"{first % 60} {_every(first // 60, seconds // _HOUR, 23)} * * *"
    if seconds == _WEEK:
        minute, hour, day = first % 60, first // 60 % 24, first // 1440
        return f"{minute} {hour} * * {(_EPOCH_WEEKDAY + day) % 7}"
    return _refuse(text, f"{seconds} seconds, which divide neither the hour nor the day")


def _every(first: int, step: int, last: int) -> str:
    if first + step > last:
        return str(first)
    if first == 0:
        return "*" if step == 1 else f"*/{step}"
    return f"{first}-{last}/{step}"


def _offsets(timezone: str) -> set[int]:
    now = datetime.now(UTC)
    return find_zone(timezone).offsets_between(
        int((now - _LOOK_BACK).timestamp()), int((now + _LOOK_AHEAD).timestamp())
    )


def _refuse(text: str, reason: str) -> NoReturn:
    raise ScheduleError(f"schedule {shorten(text)}: system cron cannot say {reason}; let the scheduler run this job")
