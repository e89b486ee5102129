"""One crontab line in a time zone: the wall clock's pattern laid over the zone's periods. Slots are UTC seconds.

A period is searched between the two wall seconds that count in it (zones.Table), so that gaps, overlaps and the two
policies need no case here, and the slots cannot fail to increase. cronsim serves the tests as an independent referee.
"""

from bisect import bisect_right

from clockmill.schedule.pattern import FOREVER, NEVER, Pattern
from clockmill.schedule.zones import Policy, Zone


class Cron:
    """The slots of one line: UTC seconds, strictly increasing."""

    __slots__ = ("pattern", "windows", "zone")

    def __init__(self, pattern: Pattern, zone: Zone, policy: Policy) -> None:
        self.pattern, self.zone, self.windows = pattern, zone, zone.windows(policy)

    def at_or_after(self, instant: int) -> int:
        """The first slot >= `instant`, or FOREVER."""
        pattern = self.pattern
        starts, offsets, opens, closes = self.windows.table
        if len(starts) == 1:
            wall = pattern.at_or_after(instant + offsets[0])
            return wall - offsets[0] if wall < FOREVER else FOREVER
        i = bisect_right(starts, instant) - 1
        low = opens[i]
        if instant > starts[i] and instant + offsets[i] > low:
            low = instant + offsets[i]
        wall = pattern.at_or_after(low)
        while wall >= closes[i] and i + 1 < len(starts):
            i += 1
            if opens[i] < low or opens[i] > wall:
                wall = pattern.at_or_after(opens[i])
            low = opens[i]
        if wall >= FOREVER:
            return FOREVER
        if self.zone.reach(wall):
            return self.at_or_after(instant)
        return max(wall - offsets[i], starts[i])

    def at_or_before(self, instant: int) -> int:
        """The last slot <= `instant`, or NEVER."""
        self.zone.reach(instant)
        pattern = self.pattern
        starts, offsets, opens, closes = self.windows.table
        i = bisect_right(starts, instant) - 1
        high = min(instant + offsets[i], closes[i] - 1)
        wall = pattern.at_or_before(high)
        while wall < opens[i] and i > 0:
            i -= 1
            if closes[i] - 1 > high or closes[i] <= wall:
                wall = pattern.at_or_before(closes[i] - 1)
            high = closes[i] - 1
        return max(wall - offsets[i], starts[i]) if wall > NEVER else NEVER
