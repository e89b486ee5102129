"""`@every`: slots at a fixed distance in elapsed time, counted from an anchor, so that a restart does not move them."""

import re

from clockmill.errors import ScheduleError
from clockmill.schedule.fields import shorten
from clockmill.schedule.pattern import NEVER

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>\d{{1,9}}){unit})?" for unit in _UNITS), re.ASCII)
_LONGEST = 100 * 366 * 86_400


class Interval:
    """Slots at anchor + k * seconds, k >= 0; both in UTC seconds."""

    __slots__ = ("anchor", "seconds")

    def __init__(self, seconds: int, anchor: int) -> None:
        self.seconds, self.anchor = seconds, anchor

    def at_or_after(self, instant: int) -> int:
        """The first slot >= `instant`."""
        if instant <= self.anchor:
            return self.anchor
        return instant + (self.anchor - instant) % self.seconds

    def at_or_before(self, instant: int) -> int:
        """The last slot <= `instant`, or NEVER before the anchor."""
        if instant < self.anchor:
            return NEVER
        return instant - (instant - self.anchor) % self.seconds


def read_duration(text: str) -> int:
    """Seconds of `90s`, `6h` or `1d12h`: units w d h m s, each at most once and in this order."""
    found = _DURATION.fullmatch(text)
    seconds = sum(int(found[unit] or 0) * size for unit, size in _UNITS.items()) if found else 0
    if not 0 < seconds <= _LONGEST:
        raise ScheduleError(f"@every is {shorten(text)}; allowed: a length as 90s, 6h or 1d12h, from 1s to 100 years")
    return seconds
