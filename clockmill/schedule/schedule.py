"""A job's schedule: the union of its expressions, less its exclusions, between its start and its end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Protocol

from clockmill.errors import ScheduleError
from clockmill.schedule.cron import Cron
from clockmill.schedule.exclusion import Exclusion, read_exclusion
from clockmill.schedule.fields import shorten
from clockmill.schedule.interval import Interval, read_duration
from clockmill.schedule.line import Line, pattern_of, read_line
from clockmill.schedule.once import Once, Reboot, read_moment, to_instant
from clockmill.schedule.pattern import FOREVER, LAST_INSTANT, NEVER
from clockmill.schedule.zones import FOLLOW_CLOCK, Policy, Zone, find_zone

DST_GAPS = ("run", "skip")
DST_OVERLAPS = ("first", "last", "both")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST_BLOCKS = 200_000  # excluded stretches in a row after which a schedule counts as wholly excluded


class Part(Protocol):
    """One expression's slots, in UTC seconds."""

    def at_or_after(self, instant: int) -> int: ...
    def at_or_before(self, instant: int) -> int: ...


@dataclass(slots=True, eq=False)
class Schedule:
    """Slots in UTC. Nothing changes once `parse` has made it: threads may share it. `first`, `last`: UTC seconds."""

    expressions: tuple[str, ...]
    timezone: str
    name: str
    parts: tuple[Part, ...]
    exclusions: tuple[Exclusion, ...]
    exclude: tuple[str, ...]
    first: int
    last: int
    jitter: timedelta
    policy: Policy

    @property
    def is_reboot(self) -> bool:
        """Whether one of the expressions is `@reboot`."""
        return any(isinstance(part, Reboot) for part in self.parts)

    @property
    def limited(self) -> bool:
        """Whether it has a start or an end."""
        return self.first != NEVER or self.last != LAST_INSTANT

    def next(self, after: datetime) -> datetime | None:
        """The first slot strictly after `after` (aware), or None when there is none any more."""
        passed = after - _EPOCH
        return _to_datetime(self._at_or_after(passed.days * 86_400 + passed.seconds + 1))

    def previous(self, at: datetime) -> datetime | None:
        """The last slot at or before `at` (aware), or None."""
        passed = at - _EPOCH
        return _to_datetime(self._at_or_before(passed.days * 86_400 + passed.seconds))

    def between(self, after: datetime, until: datetime, limit: int | None = None) -> Iterator[datetime]:
        """The slots in (after, until], ascending, at most `limit` of them."""
        slot = self.next(after)
        while slot is not None and slot <= until and limit != 0:
            yield slot
            limit = None if limit is None else limit - 1
            slot = self.next(slot)

    def never(self) -> bool:
        """Whether nothing ever starts it: no slot at all from 1970 on, and no boot of the host."""
        return not self.is_reboot and self._at_or_after(0) >= FOREVER

    def delay(self, slot: datetime) -> timedelta:
        """How much later than its slot the run may begin: 0 <= delay < jitter, the same on every host."""
        width = self.jitter // _MICROSECOND
        if width <= 0:
            return timedelta(0)
        passed = (slot - _EPOCH) // _MICROSECOND
        digest = blake2b(f"{self.name}\0{passed}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return timedelta(microseconds=int.from_bytes(digest) % width)

    def crontab_lines(self) -> list[str]:
        """Five-field lines that Debian's cron reads the same way. Raises ScheduleError with the reason if it cannot."""
        from clockmill.schedule.crontab_lines import crontab_lines

        return crontab_lines(self)

    def explain(self) -> str:
        """The schedule in plain English, with its zone."""
        from clockmill.schedule.explain import explain

        return explain(self)

    def _at_or_after(self, instant: int) -> int:
        if instant < self.first:
            instant = self.first
        slot = self._union_from(instant)
        if self.exclusions:
            slot = self._first_not_excluded(slot)
        return slot if slot <= self.last else FOREVER

    def _union_from(self, instant: int) -> int:
        parts = self.parts
        return parts[0].at_or_after(instant) if len(parts) == 1 else min([p.at_or_after(instant) for p in parts])

    def _first_not_excluded(self, slot: int) -> int:
        for _ in range(_MOST_BLOCKS):
            block = self._block(slot) if slot <= self.last else None
            if block is None:
                return slot
            slot = self._union_from(block[1])
        return FOREVER

    def _at_or_before(self, instant: int) -> int:
        if instant > self.last:
            instant = self.last
        slot = self._union_to(instant)
        if self.exclusions:
            slot = self._last_not_excluded(slot)
        return slot if slot >= self.first else NEVER

    def _union_to(self, instant: int) -> int:
        return max([part.at_or_before(instant) for part in self.parts])

    def _last_not_excluded(self, slot: int) -> int:
        for _ in range(_MOST_BLOCKS):
            block = self._block(slot) if slot > NEVER and slot >= self.first else None
            if block is None:
                return slot
            slot = self._union_to(block[0] - 1)
        return NEVER

    def _block(self, slot: int) -> tuple[int, int] | None:
        """The excluded stretch around `slot` in UTC seconds; it ends where the zone's offset changes."""
        for exclusion in self.exclusions:
            first, end, offset = exclusion.zone.period(slot)
            block = exclusion.block(slot + offset)
            if block:
                return max(block[0] - offset, first), min(block[1] - offset, end)
        return None


def parse(
    expr: str | Sequence[str],
    *,
    name: str = "",
    timezone: str = "UTC",
    start: datetime | None = None,
    end: datetime | None = None,
    jitter: timedelta = timedelta(0),
    exclude: Sequence[str] = (),
    dst_gap: str = "run",
    dst_overlap: str = "first",
) -> Schedule:
    """The schedule of one expression or of several together.

    `start` and `end` are inclusive, naive ones in the job's zone. `H`, `~` and the jitter hang on the job's `name`.
    Raises ScheduleError, naming the field.
    """
    expressions = _texts(expr)
    policy = _policy(dst_gap, dst_overlap)
    home = find_zone(timezone)
    first = NEVER if start is None else to_instant(start, home, policy)
    last = LAST_INSTANT if end is None else to_instant(end, home, policy)
    if jitter < timedelta(0):
        raise ScheduleError(f"jitter is {jitter}; allowed: a length of 0 or more")
    parts, zones = [], set()
    for text in expressions:
        with _Naming(text):
            line = read_line(text, name)
            zone = find_zone(line.zone) if line.zone else home
            parts.append(_part(line, zone, policy, first))
            zones.add(zone.key)
    shown = zones.pop() if len(zones) == 1 else timezone
    exclusions = []
    for text in exclude:
        if not isinstance(text, str):
            raise ScheduleError(f"exclude is {text!r}; allowed: a list of dates, ranges of dates and cron lines")
        with _Naming(text, "exclude"):
            exclusions.append(read_exclusion(text, name, find_zone(shown)))
    taken_out = tuple(exclusions)
    return Schedule(expressions, shown, name, tuple(parts), taken_out, tuple(exclude), first, last, jitter, policy)


class _Naming:
    """Puts the expression before the message of what is wrong with it."""

    def __init__(self, text: str, key: str = "schedule") -> None:
        self.text, self.key = text, key

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ScheduleError):
            raise ScheduleError(f"{self.key} {shorten(self.text)}: {error}") from None


def _texts(expr: str | Sequence[str]) -> tuple[str, ...]:
    texts = (expr,) if isinstance(expr, str) else tuple(expr) if isinstance(expr, Sequence) else ()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ScheduleError("schedule is empty or not a text; allowed: an expression such as '15 3 * * *', or a list")
    return texts


def _policy(gap: str, overlap: str) -> Policy:
    if gap not in DST_GAPS:
        raise ScheduleError(f"dst_gap is {shorten(str(gap))}; allowed: {', '.join(DST_GAPS)}")
    if overlap not in DST_OVERLAPS:
        raise ScheduleError(f"dst_overlap is {shorten(str(overlap))}; allowed: {', '.join(DST_OVERLAPS)}")
    return Policy(gap, overlap)


def _part(line: Line, zone: Zone, policy: Policy, first: int) -> Part:
    if line.sort == "@reboot":
        return Reboot()
    if line.sort == "@every":
        return Interval(read_duration(line.argument), 0 if first == NEVER else first)
    if line.sort == "@at":
        return Once(read_moment(line.argument, zone, policy))
    return Cron(pattern_of(line), zone, policy if line.fixed_time else FOLLOW_CLOCK)


def _to_datetime(instant: int) -> datetime | None:
    if NEVER < instant <= LAST_INSTANT:
        return _EPOCH + timedelta(0, instant)
    return None
