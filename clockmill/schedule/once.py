"""`@at`: one slot. `@reboot`: none on the clock; the scheduler starts it when the host comes up."""

from datetime import UTC, datetime

from clockmill.errors import ScheduleError
from clockmill.schedule.fields import shorten
from clockmill.schedule.pattern import FOREVER, NEVER
from clockmill.schedule.zones import Policy, Zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_EPOCH = datetime(1970, 1, 1)


class Once:
    """A single slot, in UTC seconds."""

    __slots__ = ("instant",)

    def __init__(self, instant: int) -> None:
        self.instant = instant

    def at_or_after(self, instant: int) -> int:
        return self.instant if self.instant >= instant else FOREVER

    def at_or_before(self, instant: int) -> int:
        return self.instant if self.instant <= instant else NEVER


class Reboot:
    """No slot ever."""

    __slots__ = ()

    def at_or_after(self, instant: int) -> int:
        return FOREVER

    def at_or_before(self, instant: int) -> int:
        return NEVER


def read_moment(text: str, zone: Zone, policy: Policy) -> int:
    """UTC second of an ISO time with a `T`; without an offset it is the zone's wall time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or "T" not in text or moment.year < 1970 or moment.microsecond:
        raise ScheduleError(f"@at is {shorten(text)}; allowed: a time as 2026-12-24T18:00, from 1970, in whole seconds")
    return to_instant(moment, zone, policy)


def to_instant(moment: datetime, zone: Zone, policy: Policy) -> int:
    """UTC second of `moment`, a fraction rounded up; a naive one is the zone's wall time."""
    if moment.tzinfo is not None:
        return _seconds_up(moment, _EPOCH)
    wall = _seconds_up(moment, _WALL_EPOCH)
    zone.reach(wall)
    starts, offsets, opens, closes = zone.windows(policy).table
    for start, offset, first, end in zip(starts, offsets, opens, closes, strict=True):
        if first <= wall < end:
            return max(wall - offset, start)
    raise AssertionError("every wall time lies in a window")


def _seconds_up(moment: datetime, epoch: datetime) -> int:
    passed = moment - epoch
    return passed.days * 86_400 + passed.seconds + bool(passed.microseconds)
