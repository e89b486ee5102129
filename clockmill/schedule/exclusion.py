"""What an exclusion calendar takes out: dates, ranges of dates, and whatever another cron line matches."""

import re
from datetime import date

from clockmill.errors import ScheduleError
from clockmill.schedule.fields import shorten
from clockmill.schedule.line import pattern_of, read_line
from clockmill.schedule.pattern import DAY_SECONDS, Pattern
from clockmill.schedule.zones import Zone, find_zone

_DATE = r"\d{4}-\d{2}-\d{2}"
_DATES = re.compile(rf"\s*({_DATE})\s*(?:\.\.\s*({_DATE})\s*)?", re.ASCII)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class ExcludedDates:
    """Whole days of the zone, first to last."""

    __slots__ = ("begin", "end", "zone")

    def __init__(self, first: date, last: date, zone: Zone) -> None:
        self.begin = (first.toordinal() - _EPOCH_DAY) * DAY_SECONDS
        self.end = (last.toordinal() - _EPOCH_DAY + 1) * DAY_SECONDS
        self.zone = zone

    def block(self, wall: int) -> tuple[int, int] | None:
        """[begin, end) in wall seconds of the excluded stretch that holds `wall`, or None."""
        return (self.begin, self.end) if self.begin <= wall < self.end else None


class ExcludedLine:
    """The minutes (with a seconds field: the seconds) that a cron line matches."""

    __slots__ = ("pattern", "unit", "zone")

    def __init__(self, pattern: Pattern, has_seconds: bool, zone: Zone) -> None:
        self.pattern, self.zone = pattern, zone
        self.unit = 1 if has_seconds else 60
        if not has_seconds or pattern.seconds.full:
            self.unit = 60 if not pattern.minutes.full else 3600 if not pattern.hours.full else DAY_SECONDS

    def block(self, wall: int) -> tuple[int, int] | None:
        """[begin, end) of the second, minute, hour or day around `wall` that is excluded throughout, or None."""
        begin = wall - wall % self.unit
        found = self.pattern.at_or_after(begin)
        return (begin, begin + self.unit) if found < begin + self.unit and found <= wall else None


Exclusion = ExcludedDates | ExcludedLine


def read_exclusion(text: str, name: str, zone: Zone) -> Exclusion:
    """`2026-12-24`, `2026-12-24..2026-12-26` or a cron line, in the job's zone unless the line has a prefix."""
    found = _DATES.fullmatch(text)
    if found:
        return _read_dates(found, zone)
    line = read_line(text, name)
    if line.sort != "cron":
        raise ScheduleError(f"it excludes {shorten(text)}; allowed: a date, a range of dates or a cron line")
    return ExcludedLine(pattern_of(line), len(line.fields) > 5, find_zone(line.zone) if line.zone else zone)


def _read_dates(found: re.Match[str], zone: Zone) -> ExcludedDates:
    try:
        first = date.fromisoformat(found[1])
        last = date.fromisoformat(found[2] or found[1])
    except ValueError:
        raise ScheduleError(f"it excludes {shorten(found[0])}; allowed: dates of the calendar, as 2026-12-24") from None
    if last < first:
        raise ScheduleError(f"it excludes {shorten(found[0])}; allowed: a range whose first date comes first")
    return ExcludedDates(first, last, zone)
