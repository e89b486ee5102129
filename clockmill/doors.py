"""The ways in: a slot that the clock brought, a slot that a cron line names, a run that a person asks for.

All end in one row of the ledger and one claim of it; what differs is only how the row comes to be.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from clockmill.bell import ring
from clockmill.errors import ConfigError, UsageError
from clockmill.executors import Tell
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill, specification
from clockmill.runner import Runner
from clockmill.slots import ON_TIME, TICK, Leap, instant, iso, micros, plan, slot_key, window
from db.lease_clock import AHEAD_US, RENEW_S, SECOND, boot_id, boot_micros
from db.pause import pause
from db.run import Claim, Ending, Follow, NewRun, Verdict
from db.tables import Record

if TYPE_CHECKING:
    from clockmill.schedule import Schedule

#: Leases under this prefix are held by living schedulers.
SCHEDULERS = "scheduler/"
#: How often a run that has to wait looks whether it may start.
LOOK_S = 0.5
NEVER_STARTED = ("missed", "coalesced", "skipped")


@dataclass(frozen=True)
class Outcome:
    """What a door comes to: the run, and how its last attempt ended or why none was made."""

    run: Record
    ending: Ending | None = None
    verdict: Verdict | None = None


def activate(mill: Mill, spec: JobSpec, now: datetime, since: datetime | None = None) -> None:
    """Makes the job known as it is configured now; slots up to now are accounted for as they were configured before.

    `since`: a new or changed job's slots count from there instead of from now.
    """
    # A schedule that cannot be read must not become the one under which slots are accounted for.
    mill.schedule(spec)
    text, digest = specification(spec)
    while (row := mill.ledger.job(spec.name)) is not None and row.spec_hash != digest:
        before = JobSpec.from_identity(spec.name, json.loads(row.spec_json))
        old_schedule = mill.schedule(before)
        if old_schedule is None or not _advance(mill, before, old_schedule, row, now, "schedule"):
            break
    follow = Follow(spec.after, spec.priority, spec.order_key({})) if spec.after and not spec.schedule else None
    mill.ledger.activate(spec.name, text, digest, cursor_us=micros(since or now), now_us=micros(now), follow=follow)


def advance(
    mill: Mill,
    spec: JobSpec,
    schedule: "Schedule",
    now: datetime,
    trigger: str = "schedule",
    leapt: Leap | None = None,
) -> bool:
    """Records every slot up to now; False when the job is not (or not so) known to the ledger."""
    row = mill.ledger.job(spec.name)
    if row is None or row.spec_hash != mill.digest(spec):
        return False
    _advance_upstream(mill, spec, now, leapt)
    if row.cursor_us > micros(now) + AHEAD_US:
        _make_good(mill, spec, schedule, row, now)
    else:
        _advance(mill, spec, schedule, row, now, trigger, leapt)
    return True


def _make_good(mill: Mill, spec: JobSpec, schedule: "Schedule", job: Record, now: datetime) -> None:
    """The cursor has passed the present time because a clock was ahead, and it does not go back. A slot that was given
    up as missed then, and comes now, is run after all, by a run that says so."""
    slot = schedule.previous(now)
    if slot is None or job.state == "paused":
        return
    allowed = timedelta(0) if spec.catch_up == "none" else window(spec, schedule, slot)
    known = _slot_on_record(mill, spec, slot)
    if known is not None and _missed_by_a_clock_ahead(known, now) and now - slot <= max(allowed, ON_TIME):
        retry_run(mill, spec, known, now, slot=slot, trigger="schedule", reserved=False)


def _slot_on_record(mill: Mill, spec: JobSpec, slot: datetime) -> Record | None:
    """The row of its own, or the one that stands for it among others."""
    found = mill.ledger.run_of_key(spec.name, slot_key(slot))
    return found or mill.ledger.run_covering(spec.name, micros(slot))


def _missed_by_a_clock_ahead(run: Record, now: datetime) -> bool:
    return bool(run.state == "missed" and run.created_us > micros(now) + AHEAD_US)


def _advance_upstream(mill: Mill, spec: JobSpec, now: datetime, leapt: Leap | None) -> None:
    """What the job comes after is recorded up to now before it: a slot of it that has no row then never came."""
    for name in {*spec.after.jobs, *spec.after.roots} if spec.after else ():
        upstream = mill.registry.jobs.get(name)
        schedule = mill.schedule(upstream) if upstream else None
        if upstream is not None and schedule is not None and not schedule.is_reboot:
            advance(mill, upstream, schedule, now, leapt=leapt)


def _advance(
    mill: Mill,
    spec: JobSpec,
    schedule: "Schedule",
    row: Record,
    now: datetime,
    trigger: str,
    leapt: Leap | None = None,
) -> bool:
    """False when no slot has come since the cursor. Another process that moves it meanwhile records the same slots."""
    ledger, cursor, paused = mill.ledger, instant(row.cursor_us), row.state == "paused"
    recorded = ledger.recorded_ahead(spec.name, row.cursor_us, micros(now))
    ahead = {instant(us) for us in recorded}
    steps = plan(spec, schedule, cursor, now, paused=paused, trigger=trigger, recorded=ahead, leapt=leapt)
    if steps.cursor == cursor:
        return False
    new_us = micros(steps.cursor)
    ledger.advance(spec.name, row.spec_hash, row.cursor_us, new_us, steps.rows, micros(now), recorded)
    return True


def manual_run(
    mill: Mill, spec: JobSpec, params: Mapping[str, Any], *, forced: bool, now: datetime, reserved: bool = True
) -> int:
    """A run of its own, for this process to carry out, or (not reserved) for whichever worker comes first; its number.

    Raises ConfigError where a running scheduler has another configuration of the job.
    """
    row = NewRun(
        slot_key=f"m:{uuid.uuid4()}",
        trigger="manual",
        state="queued",
        due_us=micros(now),
        priority=spec.priority,
        params=params,
        order_key=spec.order_key(params),
        forced=forced,
        reserved_for=mill.owner if reserved else None,
    )
    run_id = mill.ledger.ask(spec.name, mill.digest(spec), row, micros(now))
    if run_id is None:
        know(mill, spec, now)
        run_id = mill.ledger.record(spec.name, row, micros(now)).run_id
    if not reserved:
        ring(mill.config.var)
    return run_id


def boot_key(mill: Mill) -> str:
    """The slot key of this boot of this host."""
    return f"b:{mill.host}:{boot_id()}"


def boot_run(mill: Mill, spec: JobSpec, now: datetime) -> Record:
    """The run of an @reboot job: one for each boot of this host, whoever comes first."""
    row = NewRun(
        slot_key=boot_key(mill),
        trigger="reboot",
        state="queued",
        due_us=micros(now),
        priority=spec.priority,
        order_key=spec.order_key({}),
    )
    return mill.ledger.record(spec.name, row, micros(now))


def retry_run(
    mill: Mill,
    spec: JobSpec,
    of: Record,
    now: datetime,
    *,
    slot: datetime | None = None,
    trigger: str = "retry",
    reserved: bool = True,
) -> Record:
    """A new run that does again what an ended one did or should have done, for this process to carry out, or (not
    reserved) for whichever worker comes first.

    `slot`: the one of the slots that `of` stands for; the same run is given back when it was asked for already.
    """
    if slot is None:
        slot_us = of.slot_last_us if of.slot_us is None else of.slot_us
        number = 1 + len(mill.ledger.reruns(of))
    else:
        slot_us = micros(slot)
        number = 1 + (slot_us - of.slot_us) // SECOND
    row = NewRun(
        slot_key=f"r:{of.run_id}:{number}",
        trigger=trigger,
        state="queued",
        due_us=micros(now),
        slot_last_us=slot_us,
        priority=spec.priority,
        params=json.loads(of.params_json),
        order_key=of.order_key,
        retry_of=of.run_id,
        reserved_for=mill.owner if reserved else None,
    )
    return mill.ledger.record(spec.name, row, micros(now))


def slot_run(mill: Mill, spec: JobSpec, at: datetime | None, now: datetime, *, forced: bool) -> Record:
    """The run of the job's latest slot, or of exactly the slot `at`; recorded if nobody has yet.

    A slot that was asked for by its time and was never started is run after all, by a run that says so.
    """
    asked = at is not None
    schedule = mill.schedule(spec)
    if at is None:
        if schedule is None:
            raise UsageError(f"job {spec.name} has no schedule, so no slot; run it without --slot")
        at = schedule.previous(now)
        if schedule.is_reboot and (at is None or at < instant(micros(now) - boot_micros())):
            know(mill, spec, now)
            return boot_run(mill, spec, now)
        if at is None:
            raise UsageError(f"job {spec.name}: its schedule has no slot up to {iso(now)}")
        know(mill, spec, now, since=at - TICK)
        advance(mill, spec, schedule, now, "cron")
    elif at > now:
        raise UsageError(f"--slot {iso(at)} is in the future; a slot can be run from its time on")
    else:
        know(mill, spec, now)
    key = slot_key(at)
    known = _slot_on_record(mill, spec, at)
    if known is not None and ((asked and known.state in NEVER_STARTED) or _missed_by_a_clock_ahead(known, now)):
        return retry_run(mill, spec, known, now, slot=at)
    if known is not None:
        return known
    row = NewRun(
        key,
        "cron",
        "queued",
        micros(now),
        slot_us=micros(at),
        priority=spec.priority,
        order_key=spec.order_key({}),
        forced=forced,
    )
    return mill.ledger.record(spec.name, row, micros(now))


def know(mill: Mill, spec: JobSpec, now: datetime, since: datetime | None = None) -> None:
    """Makes the ledger know the job as this process does; raises ConfigError when a scheduler does otherwise."""
    row = mill.ledger.job(spec.name)
    if row is not None and row.spec_hash == mill.digest(spec) and row.state != "broken":
        return
    if row is not None and mill.ledger.holders(SCHEDULERS):
        raise ConfigError(
            f"job {spec.name}: the running scheduler has another configuration of it; let it reload first (SIGHUP)"
        )
    activate(mill, spec, now, since)


def stay(runner: Runner, run_id: int, spec: JobSpec, listener: Tell | None = None, echo: bool = False) -> Outcome:
    """Carries the run out in this process, through its retries, to its end or to the reason why it may not start."""
    ledger, renewed = runner.mill.ledger, time.monotonic()
    while True:
        claim, asked_at = runner.claim(run_id, spec)
        if isinstance(claim, Claim):
            ending = runner.run(claim, spec, asked_at, listener, echo)
            if ending.state != "retry_wait":
                # What its end has triggered is for whoever works here.
                ring(runner.mill.config.var)
                return Outcome(_row(runner, run_id), ending=ending)
        elif claim in ("waits", "not_due"):
            ending = None
        else:
            return Outcome(_row(runner, run_id), verdict=claim)
        renewed = _wait(lambda: ledger.renew([run_id]), _row(runner, run_id).due_us, runner.mill.now, renewed)


def _row(runner: Runner, run_id: int) -> Record:
    found = runner.mill.ledger.run(run_id)
    assert found is not None, "runs are not deleted while somebody carries them out"
    return found


def _wait(renew: Callable[[], object], due_us: int, now: Callable[[], datetime], renewed: float) -> float:
    """Waits until the run is due, or a moment when it is due already; when its lease was last renewed."""
    while True:
        if time.monotonic() - renewed > RENEW_S:
            renew()
            renewed = time.monotonic()
        wait_s = (due_us - micros(now())) / 1e6
        pause(wait_s if 0 < wait_s < LOOK_S else LOOK_S)
        if micros(now()) >= due_us:
            return renewed
