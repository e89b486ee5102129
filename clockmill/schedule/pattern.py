"""One crontab line on the wall clock: wall seconds in, wall seconds out. A wall second counts from 1970-01-01 00:00 as
the clock on the wall shows it; no zone is known here.

Tables and bit masks instead of cronsim's stepping: 1-2 microseconds a call where that takes 20-150.
"""

from datetime import UTC, date, datetime
from functools import lru_cache

from clockmill.schedule.days import SHAPES

DAY_SECONDS = 86_400
FOREVER = 1 << 62  # later than any slot
NEVER = -FOREVER  # earlier than any slot
LAST_INSTANT = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())  # the last UTC second that datetime has

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_WALL = (date(9999, 12, 31).toordinal() - _EPOCH_DAY) * DAY_SECONDS + DAY_SECONDS - 1
_LAST_YEAR = 9999
_FIRST_YEAR = 1970
_CALENDAR_CYCLE = 400  # years after which the Gregorian calendar repeats itself, weekdays included
_NONE = 255
_EVERY_DAY = tuple((2 << 28 + shape // 7) - 2 for shape in range(28))


class Positions:
    """The members of a small set. up[i]: the least member >= i; down[i]: the greatest < i; 255 where there is none."""

    __slots__ = ("down", "first", "full", "last", "up")

    def __init__(self, bits: int, low: int, high: int) -> None:
        members = [value for value in range(high + 1) if bits >> value & 1]
        self.first, self.last = members[0], members[-1]
        self.full = len(members) == high - low + 1
        self.up = bytes(min((m for m in members if m >= i), default=_NONE) for i in range(high + 2))
        self.down = bytes(max((m for m in members if m < i), default=_NONE) for i in range(high + 2))


@lru_cache(maxsize=4096)
def positions(bits: int, low: int, high: int) -> Positions:
    """Shared between schedules: 100,000 of them have few different fields."""
    return Positions(bits, low, high)


class Pattern:
    """The wall seconds that one line means."""

    __slots__ = ("days", "every_day", "first", "hours", "last", "minutes", "months", "seconds", "years")

    def __init__(self, seconds: int, minutes: int, hours: int, months: int, days: tuple[int, ...], years: int) -> None:
        """Bits of seconds, minutes, hours and months, the month masks, bits of the years (0: all of them)."""
        self.seconds = positions(seconds, 0, 59)
        self.minutes = positions(minutes, 0, 59)
        self.hours = positions(hours, 0, 23)
        self.months = positions(months, 1, 12)
        self.days = days
        self.years = years
        self.every_day = not years and self.months.full and days == _EVERY_DAY
        self.first = self.hours.first * 3600 + self.minutes.first * 60 + self.seconds.first
        self.last = self.hours.last * 3600 + self.minutes.last * 60 + self.seconds.last

    def at_or_after(self, wall: int) -> int:
        """The least matching wall second >= `wall`, or FOREVER."""
        if wall > _LAST_WALL:
            return FOREVER
        day, time = divmod(wall if wall > 0 else 0, DAY_SECONDS)
        if self.every_day:
            time = self._time_from(time)
            return day * DAY_SECONDS + time if time >= 0 else (day + 1) * DAY_SECONDS + self.first
        today = date.fromordinal(day + _EPOCH_DAY)
        if self._month_mask(today.year, today.month) >> today.day & 1:
            time = self._time_from(time)
            if time >= 0:
                return day * DAY_SECONDS + time
        day = self._day_after(today)
        return day * DAY_SECONDS + self.first if day else FOREVER

    def at_or_before(self, wall: int) -> int:
        """The greatest matching wall second <= `wall`, or NEVER."""
        if wall < 0:
            return NEVER
        day, time = divmod(wall if wall < _LAST_WALL else _LAST_WALL, DAY_SECONDS)
        today = date.fromordinal(day + _EPOCH_DAY)
        if self._month_mask(today.year, today.month) >> today.day & 1:
            time = self._time_to(time)
            if time >= 0:
                return day * DAY_SECONDS + time
        day = self._day_before(today)
        return day * DAY_SECONDS + self.last if day >= 0 else NEVER

    def matches(self, wall: int) -> bool:
        return self.at_or_after(wall) == wall

    def _time_from(self, time: int) -> int:
        """The least time of day >= `time`, in seconds, or -1."""
        hour, rest = divmod(time, 3600)
        hours = self.hours.up
        if hours[hour] == hour:
            minute, second = divmod(rest, 60)
            minutes = self.minutes.up
            if minutes[minute] == minute and (found := self.seconds.up[second]) != _NONE:
                return hour * 3600 + minute * 60 + found
            if (found := minutes[minute + 1]) != _NONE:
                return hour * 3600 + found * 60 + self.seconds.first
        if (found := hours[hour + 1]) != _NONE:
            return found * 3600 + self.minutes.first * 60 + self.seconds.first
        return -1

    def _time_to(self, time: int) -> int:
        """The greatest time of day <= `time`, in seconds, or -1."""
        hour, rest = divmod(time, 3600)
        if self.hours.up[hour] == hour:
            minute, second = divmod(rest, 60)
            if self.minutes.up[minute] == minute and (found := self.seconds.down[second + 1]) != _NONE:
                return hour * 3600 + minute * 60 + found
            if (found := self.minutes.down[minute]) != _NONE:
                return hour * 3600 + found * 60 + self.seconds.last
        if (found := self.hours.down[hour]) != _NONE:
            return found * 3600 + self.minutes.last * 60 + self.seconds.last
        return -1

    def _month_mask(self, year: int, month: int) -> int:
        if self.months.up[month] != month or (self.years and not self.years >> year & 1):
            return 0
        return self.days[SHAPES[year % 400 * 12 + month]]

    def _day_after(self, today: date) -> int:
        """The next matching day after `today` as days since 1970-01-01, or 0."""
        year, month = today.year, today.month
        rest = self._month_mask(year, month) >> today.day + 1
        if rest:
            return today.toordinal() - _EPOCH_DAY + (rest & -rest).bit_length()
        months = self.months
        last_year = min(year + _CALENDAR_CYCLE, _LAST_YEAR)
        while True:
            month = months.up[month + 1]
            if month == _NONE:
                year, month = self._year_from(year + 1), months.first
            if year > last_year:
                return 0
            mask = self._month_mask(year, month)
            if mask:
                return date(year, month, (mask & -mask).bit_length() - 1).toordinal() - _EPOCH_DAY

    def _day_before(self, today: date) -> int:
        """The last matching day before `today` as days since 1970-01-01, or -1."""
        year, month = today.year, today.month
        mask = self._month_mask(year, month) & (1 << today.day) - 1
        first_year = max(year - _CALENDAR_CYCLE, _FIRST_YEAR)
        while not mask:
            month = self.months.down[month]
            if month == _NONE:
                year, month = self._year_to(year - 1), self.months.last
            if year < first_year:
                return -1
            mask = self._month_mask(year, month)
        return date(year, month, mask.bit_length() - 1).toordinal() - _EPOCH_DAY

    def _year_from(self, year: int) -> int:
        if not self.years:
            return year
        rest = self.years >> year
        return year + (rest & -rest).bit_length() - 1 if rest else _LAST_YEAR + 1

    def _year_to(self, year: int) -> int:
        if not self.years:
            return year
        return (self.years & (2 << year) - 1).bit_length() - 1
