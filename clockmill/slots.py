"""From the clock to the ledger: which slots have come, and what is to become of each. No clock is asked here."""

from bisect import bisect
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import TYPE_CHECKING

from clockmill.durations import format_duration
from clockmill.job_spec import JobSpec
from db.run import NewRun

if TYPE_CHECKING:
    from clockmill.schedule import Schedule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
#: The least there is between two instants of the ledger.
TICK = timedelta(microseconds=1)
#: With catch_up = none a slot still counts as on time for so long: a cron line may start as late.
ON_TIME = timedelta(seconds=60)
#: catch_up = all runs so many slots at most, the newest; a longer stop is for `backfill`.
CATCH_UP_MAX = 100
#: Slots looked at in one go: bounds the work after a long stop of a job that runs every second.
SLOTS_AT_ONCE = 100_000


def micros(instant: datetime) -> int:
    """Microseconds since the epoch."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def instant(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def iso(at: datetime) -> str:
    """`2026-03-08T07:00:00Z`, with a fraction only where there is one."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def slot_key(slot: datetime) -> str:
    return f"c:{iso(slot)}"


#: A stretch of time, (before, after), that a clock which was put right leapt over.
Leap = tuple[datetime, datetime]


@dataclass(frozen=True)
class Plan:
    """What passing from one cursor to another records."""

    rows: list[NewRun]
    cursor: datetime


def plan(
    spec: JobSpec,
    schedule: "Schedule",
    cursor: datetime,
    now: datetime,
    *,
    paused: bool,
    trigger: str,
    recorded: Collection[datetime] = (),
    leapt: Leap | None = None,
) -> Plan:
    """Every slot in (cursor, now], each as a row of its own or, where nothing runs, several consecutive ones as one.

    `recorded`: slots that have a row already, because somebody asked for them before the cursor came by. `leapt`: the
    time between these two never was, the clock was put right; nothing in it is caught up.
    """
    passed = list(islice(schedule.between(cursor, now), SLOTS_AT_ONCE))
    slots = [slot for slot in passed if slot not in recorded]
    if not slots:
        return Plan([], passed[-1] if passed else cursor)
    if paused:
        rows = [_unrun(some, "skipped", "paused", trigger) for some in _consecutive(slots, recorded)]
        return Plan(rows, passed[-1])
    unreal = [slot for slot in slots if leapt and leapt[0] < slot < leapt[1] - ON_TIME]
    if leapt and unreal:
        slots = [slot for slot in slots if not leapt[0] < slot < leapt[1] - ON_TIME]
    chosen, older, late, into = _choose(spec, schedule, slots, [slot for slot in passed if slot in recorded], now)
    rows = [_due(spec, schedule, slot, now, trigger) for slot in chosen]
    for some in _consecutive(unreal, recorded):
        rows.append(_unrun(some, "missed", f"the clock was set forward to {iso(now)}, over this time", trigger))
    for some in _consecutive(older, [*unreal, *recorded]):
        rows.append(_unrun(some, "missed", _why_missed(spec, schedule, some[-1], now), trigger))
    for some in _consecutive(late, [*chosen, *unreal, *recorded]):
        rows.append(_unrun(some, "coalesced", None, trigger, into=slot_key(into) if into else None))
    return Plan(rows, passed[-1])


def window(spec: JobSpec, schedule: "Schedule", slot: datetime) -> timedelta:
    """How old this slot may be to be caught up: as configured, or one period of the schedule, at most a day."""
    if spec.catch_up_window is not None:
        return spec.catch_up_window
    following = schedule.next(slot)
    return min(following - slot, DAY) if following else DAY


def _choose(
    spec: JobSpec, schedule: "Schedule", slots: list[datetime], taken: list[datetime], now: datetime
) -> tuple[list[datetime], list[datetime], list[datetime], datetime | None]:
    """(to run, too old, stood for by one that runs, that one). `taken`: slots that were asked for before."""
    if spec.catch_up == "none":
        fresh = [slot for slot in slots if now - slot <= ON_TIME]
        return fresh[-1:], [s for s in slots if now - s > ON_TIME], fresh[:-1], fresh[-1] if fresh else None

    def is_inside(slot: datetime) -> bool:
        return now - slot <= max(window(spec, schedule, slot), ON_TIME)

    inside = [slot for slot in slots if is_inside(slot)]
    outside = slots[: len(slots) - len(inside)]
    if spec.catch_up == "all":
        run = inside[-CATCH_UP_MAX:]
        return run, [*outside, *inside[: -len(run)]] if run else outside, [], None
    if not inside:
        return [], outside, [], None
    # A slot that somebody has run by hand stands for the others as well as one that is still to run.
    candidates = [*inside, *filter(is_inside, taken)]
    one = max(candidates) if spec.catch_up == "latest" else min(candidates)
    run = [one] if one in inside else []
    return run, outside, [slot for slot in inside if slot != one], one


def _why_missed(spec: JobSpec, schedule: "Schedule", slot: datetime, now: datetime) -> str:
    if spec.catch_up == "none":
        return "nothing ran when it came, and catch_up = none"
    allowed = window(spec, schedule, slot)
    if now - slot <= allowed:
        return f"catch_up = all runs the newest {CATCH_UP_MAX} slots"
    return f"older than the catch-up window of {format_duration(allowed)}"


def _consecutive(slots: list[datetime], between: Collection[datetime]) -> list[list[datetime]]:
    """The slots in groups that no other slot divides: a row with first and last stands for what lies between them."""
    walls = sorted(between)
    groups = groupby(slots, key=lambda slot: bisect(walls, slot))
    return [list(group) for _, group in groups]


def _due(spec: JobSpec, schedule: "Schedule", slot: datetime, now: datetime, trigger: str) -> NewRun:
    due = slot + schedule.delay(slot)
    return NewRun(
        slot_key=slot_key(slot),
        trigger=trigger,
        state="queued" if due <= now else "scheduled",
        due_us=micros(due),
        slot_us=micros(slot),
        priority=spec.priority,
        order_key=spec.order_key({}),
    )


def _unrun(slots: list[datetime], state: str, reason: str | None, trigger: str, into: str | None = None) -> NewRun:
    return NewRun(
        slot_key=slot_key(slots[0]),
        trigger=trigger,
        state=state,
        reason=reason,
        due_us=micros(slots[0]),
        slot_us=micros(slots[0]),
        slot_last_us=micros(slots[-1]),
        slot_count=len(slots),
        coalesced_into=into,
    )
