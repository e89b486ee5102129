"""Which days of a month a line means, as one bit mask for each of the 28 shapes that a month can have."""

from collections.abc import Iterator
from functools import lru_cache

from clockmill.schedule.fields import Field, Special

_WEEK = sum(1 << 7 * week for week in range(6))


def _shapes() -> Iterator[int]:
    """(length - 28) * 7 + weekday of the first, Sunday = 0, for every month of the calendar's 400-year cycle."""
    first = 6  # 2000-01-01 was a Saturday, and 2000 % 400 == 0
    for year in range(400):
        leap = year % 4 == 0 and (year % 100 != 0 or year == 0)
        for length in (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31):
            yield (length - 28) * 7 + first
            first = (first + length) % 7


#: Shape of month m (1-12) of year y at index y % 400 * 12 + m.
SHAPES = bytes([0, *_shapes()])


def month_masks(days: Field, weekdays: Field, both: bool) -> tuple[int, ...]:
    """Bit d of entry s is set when day d of a month of shape s is meant.

    `both`: the two fields must agree, else either will do.
    """
    return _masks(days.bits, days.specials, weekdays.bits, weekdays.specials, both)


@lru_cache(maxsize=4096)
def _masks(
    days: int, day_specials: tuple[Special, ...], weekdays: int, weekday_specials: tuple[Special, ...], both: bool
) -> tuple[int, ...]:
    masks = []
    for length in range(28, 32):
        for first in range(7):
            by_day, by_weekday = days, _weekday_mask(weekdays, first)
            for special in day_specials:
                by_day |= 1 << _day_of(special, length, first)
            for special in weekday_specials:
                by_weekday |= 1 << _day_of(special, length, first)
            mask = by_day & by_weekday if both else by_day | by_weekday
            masks.append(mask & (2 << length) - 2)
    return tuple(masks)


def _weekday_mask(weekdays: int, first: int) -> int:
    """The weekdays' bits laid over days 1-31 of a month that begins on weekday `first`."""
    turned = (weekdays >> first | weekdays << 7 - first) & 0x7F
    return (turned * _WEEK) << 1


def _day_of(special: Special, length: int, first: int) -> int:
    """The day meant in such a month; 0 when it has none."""
    if special.sort == "L":
        return max(0, length - special.number)
    if special.sort == "LW":
        return _nearest_weekday(length, length, first)
    if special.sort == "W":
        return _nearest_weekday(special.number, length, first)
    day = 1 + (special.weekday - first) % 7
    if special.number == 0:
        return day + (length - day) // 7 * 7
    day += 7 * (special.number - 1)
    return day if day <= length else 0


def _nearest_weekday(day: int, length: int, first: int) -> int:
    """Monday to Friday nearest to `day` without leaving the month; 0 when the month has no such day."""
    if day > length:
        return 0
    weekday = (first + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
