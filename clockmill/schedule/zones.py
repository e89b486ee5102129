"""Time zones as plain tables: the UTC second at which each period of one offset begins, and the wall seconds it shows.

zoneinfo answers one instant at a time and does not tell its transitions, so they are read from the same TZif files;
the years after a file's last entry are probed through zoneinfo.
"""

import struct
import zoneinfo
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from clockmill.errors import ScheduleError, did_you_mean
from clockmill.schedule.fields import shorten
from clockmill.schedule.pattern import DAY_SECONDS, FOREVER, NEVER

_LONGEST_NAME = 64
_PROBE_STEP = 10 * DAY_SECONDS  # a rule of summer time lasts longer than this
_PROBE_AHEAD = 20 * 366 * DAY_SECONDS
_SLACK = 3 * DAY_SECONDS  # wall and UTC are never further apart
_LAST_PROBE = int(datetime(9999, 12, 1, tzinfo=UTC).timestamp())


class Table(NamedTuple):
    """In period i, from UTC second starts[i], the wall seconds opens[i] <= w < closes[i] count, at w - offsets[i].

    A wall second that lies before the period's own first one belongs to a gap and counts at starts[i].
    """

    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    opens: tuple[int, ...]
    closes: tuple[int, ...]


class Windows:
    """One policy's table of a zone. It is replaced whole when the zone's grows: a reader sees one or the other."""

    __slots__ = ("table",)

    def __init__(self, table: Table) -> None:
        self.table = table


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens to a wall time that does not occur, and to one that occurs twice."""

    gap: str = "skip"
    overlap: str = "both"


#: Jobs that follow the clock.
FOLLOW_CLOCK = Policy()


class Zone:
    """One time zone. Shared by all schedules in it; its table grows towards the future when asked."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._zone = _open_zone(key)
        self._lock = Lock()
        self._starts, self._offsets, repeats = _transitions(key, self._zone)
        self._windows: dict[Policy, Windows] = {}
        #: Up to here the table is complete.
        self.horizon = self._starts[-1] if repeats else FOREVER

    def windows(self, policy: Policy) -> Windows:
        with self._lock:
            found = self._windows.get(policy)
            if found is None:
                found = self._windows[policy] = Windows(_table(self._starts, self._offsets, policy))
        return found

    def offset(self, instant: int) -> int:
        """Seconds east of UTC at the UTC second `instant`."""
        return self.period(instant)[2]

    def period(self, instant: int) -> tuple[int, int, int]:
        """(first UTC second, first UTC second after it, offset) of the period that holds `instant`."""
        self.reach(instant)
        starts = self._starts
        index = bisect_right(starts, instant) - 1
        end = starts[index + 1] if index + 1 < len(starts) else FOREVER
        return starts[index], end, self._offsets[index]

    def changes(self, first: int, last: int) -> list[int]:
        """The UTC seconds in (first, last] from which another offset is in force."""
        self.reach(last)
        return list(self._starts[bisect_right(self._starts, first) : bisect_right(self._starts, last)])

    def offsets_between(self, first: int, last: int) -> set[int]:
        """Every offset in force at some time in [first, last]."""
        return {self.offset(first), *(self.offset(change) for change in self.changes(first, last))}

    def reach(self, instant: int) -> bool:
        """Make the table complete up to `instant` and some days on; whether it grew."""
        if instant + _SLACK < self.horizon:
            return False
        with self._lock:
            if instant + _SLACK < self.horizon:
                return False
            until = min(instant + _PROBE_AHEAD, _LAST_PROBE)
            starts, offsets = _probe(self._zone, self.horizon, until)
            self._starts, self._offsets = self._starts + starts, self._offsets + offsets
            for policy, windows in self._windows.items():
                windows.table = _table(self._starts, self._offsets, policy)
            self.horizon = until if until < _LAST_PROBE else FOREVER
        return True


@lru_cache(maxsize=1024)
def find_zone(key: str) -> Zone:
    """The zone of that IANA name. Raises ScheduleError when tzdata has none."""
    return Zone(key)


def _open_zone(key: str) -> zoneinfo.ZoneInfo:
    try:
        if 0 < len(key) <= _LONGEST_NAME:
            return zoneinfo.ZoneInfo(key)
    except (KeyError, ValueError, OSError):
        pass
    close = did_you_mean(key, zoneinfo.available_timezones()) if len(key) <= _LONGEST_NAME else ""
    raise ScheduleError(f"time zone is {shorten(key)}; allowed: an IANA name such as UTC or Europe/Oslo{close}")


def _transitions(key: str, zone: zoneinfo.ZoneInfo) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """(starts, offsets, whether a rule goes on after them); the first start is NEVER."""
    instants, after, first, footer = _read_tzif(_tzif(key))
    starts, offsets = [NEVER], [first]
    for instant, offset in zip(instants, after, strict=True):
        if offset != offsets[-1]:
            starts.append(instant)
            offsets.append(offset)
    repeats = "," in footer
    if repeats and len(starts) == 1:
        starts.append(0)
        offsets.append(_offset(zone, 0))
    return tuple(starts), tuple(offsets), repeats


def _tzif(key: str) -> bytes:
    for folder in zoneinfo.TZPATH:
        path = Path(folder, key)
        if path.is_file():
            return path.read_bytes()
    from importlib import resources  # slow to import, and only hosts without tzdata come here

    return resources.files("tzdata").joinpath("zoneinfo", *key.split("/")).read_bytes()


def _read_tzif(data: bytes) -> tuple[tuple[int, ...], list[int], int, str]:
    """RFC 9636: (transition instants, offset after each, offset before all, rule for the years after)."""
    header = struct.Struct(">4s c 15x 6I")
    _, version, *counts = header.unpack_from(data)
    begin, width, form = header.size, 4, "i"
    if version != b"\x00":
        utc, standard, leaps, times, types, letters = counts
        begin += times * 5 + types * 6 + letters + leaps * 8 + standard + utc
        _, _, *counts = header.unpack_from(data, begin)
        begin, width, form = begin + header.size, 8, "q"
    utc, standard, leaps, times, types, letters = counts
    instants = struct.unpack_from(f">{times}{form}", data, begin)
    indexes = data[begin + times * width : begin + times * (width + 1)]
    begin += times * (width + 1)
    offsets = [struct.unpack_from(">i", data, begin + 6 * kind)[0] for kind in range(types)]
    end = begin + types * 6 + letters + leaps * (width + 4) + standard + utc
    return instants, [offsets[index] for index in indexes], offsets[0], data[end:].decode("ascii").strip()


def _offset(zone: zoneinfo.ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _probe(zone: zoneinfo.ZoneInfo, begin: int, end: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    starts, offsets = [], []
    known = _offset(zone, begin)
    for instant in range(begin, end, _PROBE_STEP):
        last = min(instant + _PROBE_STEP, end)
        offset = _offset(zone, last)
        if offset != known:
            starts.append(_first_instant(zone, instant, last, offset))
            offsets.append(offset)
            known = offset
    return tuple(starts), tuple(offsets)


def _first_instant(zone: zoneinfo.ZoneInfo, before: int, after: int, offset: int) -> int:
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return after


def _table(starts: tuple[int, ...], offsets: tuple[int, ...], policy: Policy) -> Table:
    """In a row of close transitions a wall second counts as shown once any earlier period has shown it."""
    count = len(starts)
    opens, closes = [NEVER], [FOREVER]
    shown = NEVER
    for i in range(1, count):
        begin = starts[i] + offsets[i]
        shown = max(shown, starts[i] + offsets[i - 1])
        in_gap, in_overlap = shown < begin, shown > begin
        opens.append(shown if (in_gap and policy.gap == "run") or (in_overlap and policy.overlap == "first") else begin)
    shown_later = FOREVER
    for i in range(count - 1, 0, -1):
        end = starts[i] + offsets[i - 1]
        shown_later = min(shown_later, starts[i] + offsets[i])
        closes.append(min(end, shown_later) if policy.overlap == "last" else end)
    return Table(starts, offsets, tuple(opens), tuple(reversed(closes)))
