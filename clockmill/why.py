"""Why a job ran, or did not run, at some time: the row that accounts for it, or what stands in the place of a row."""

from dataclasses import dataclass
from datetime import datetime

from clockmill.backfill import latest
from clockmill.doors import boot_key
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.slots import instant, iso, micros, slot_key
from db.tables import Record

#: What a state means to somebody who asks why, where its name does not say it.
MEANINGS = {
    "scheduled": "its slot has come and its jitter has not passed yet",
    "queued": "it is due and waits for a worker",
    "running": "it is running",
    "retry_wait": "an attempt ended and the next one is waited for",
    "lost": "whoever ran it died",
    "skipped": "it was not run",
    "missed": "nothing was there to run it in time",
    "coalesced": "another slot's run stands for it",
    "upstream_failed": "a job that it waits for did not succeed",
}


@dataclass(frozen=True)
class Answer:
    """`sentences` say why; `row` accounts for the time, `again` did its slot once more; the neighbours are slots."""

    at: datetime | None
    is_slot: bool
    sentences: list[str]
    row: Record | None = None
    again: Record | None = None
    before: datetime | None = None
    after: datetime | None = None


def why(mill: Mill, spec: JobSpec, at: datetime | None, now: datetime) -> Answer:
    """Without a time: the job's latest slot."""
    schedule = mill.schedule(spec)
    if at is None and schedule is not None:
        at = schedule.previous(now)
    if at is None and schedule is not None and schedule.is_reboot:
        return _of_boot(mill, spec)
    if at is None:
        words = "has no schedule, it runs only when asked" if schedule is None else "has had no slot up to now"
        return Answer(None, False, [f"job {spec.name} {words}"])
    before = schedule.previous(at) if schedule else None
    after = schedule.next(at) if schedule else None
    is_slot = before == at
    row = mill.ledger.run_of_key(spec.name, slot_key(at))
    if row is None and is_slot:
        row = mill.ledger.run_covering(spec.name, micros(at))
    if row is not None:
        again = latest(mill, row, at)
        return Answer(at, True, [*_told(row, at), *_told_again(again)], row, again, before, after)
    if is_slot:
        return Answer(at, True, [_unrecorded(mill, spec, at, now)], before=before, after=after)
    beside = " and ".join(iso(slot) for slot in (before, after) if slot is not None)
    known = f"the schedule's neighbours are {beside}" if beside else "the schedule has no slots"
    return Answer(at, False, [f"job {spec.name} has no slot at {iso(at)}; {known}"], before=before, after=after)


def _of_boot(mill: Mill, spec: JobSpec) -> Answer:
    row = mill.ledger.run_of_key(spec.name, boot_key(mill))
    if row is None:
        return Answer(None, False, [f"no scheduler or cron line has come by since host {mill.host} was started"])
    reason = f": {row.reason}" if row.reason else ""
    sentence = f"run {row.run_id} accounts for this start of host {mill.host}, {row.state}{reason}"
    return Answer(None, False, [sentence], row)


def _told(row: Record, at: datetime) -> list[str]:
    reason = f": {row.reason}" if row.reason else ""
    meaning = f"; {MEANINGS[row.state]}" if row.state in MEANINGS else ""
    found = [f"run {row.run_id} accounts for it, {row.state}{reason}{meaning}"]
    if row.slot_count > 1:
        span = f"{iso(instant(row.slot_us))} to {iso(instant(row.slot_last_us))}"
        found.append(f"that row stands for {row.slot_count} slots, {span}")
    if row.started_us:
        late = (row.started_us - micros(at)) / 1e6
        found.append(f"it started {late:.3f} s after its slot, on host {row.host}, attempt {row.attempt}")
    return found


def _told_again(again: Record | None) -> list[str]:
    if again is None:
        return []
    reason = f": {again.reason}" if again.reason else ""
    return [f"run {again.run_id} did it again ({again.trigger}), {again.state}{reason}"]


def _unrecorded(mill: Mill, spec: JobSpec, at: datetime, now: datetime) -> str:
    if at > now:
        return f"{iso(at)} is a slot of job {spec.name} that has not come yet"
    job = mill.ledger.job(spec.name)
    if job is None:
        return f"job {spec.name} is not known to the ledger: no scheduler, cron line or person has run it so far"
    if at <= instant(job.created_us):
        return f"job {spec.name} was not known then; it was first seen at {iso(instant(job.created_us))}"
    if at <= instant(job.activated_us):
        return f"the schedule of job {spec.name} was another one then; it changed at {iso(instant(job.activated_us))}"
    upto = iso(instant(job.cursor_us))
    if at > instant(job.cursor_us):
        return f"slots of job {spec.name} are recorded up to {upto}: no scheduler or cron line has come by since"
    return f"the row of that slot is gone: runs are kept for {mill.config.table('scheduler')['keep_days']} days"
