"""What must be true when a scenario is over: expected slots, computed without clockmill, against what is recorded.

Invariants that SQL can state are SQL; each of those statements finds violations, so it must give no row.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim
from world import World, wait_until

SECOND = 1_000_000

#: job -> seconds of its @every line, or its crontab line for cronsim.
SCHEDULES: Mapping[str, int | str] = {"quick": 1, "steady": "*/2 * * * * *", "slow": 7, "minute": "* * * * *"}
#: Jobs without an effect have names that begin so.
PLAIN = "plain"

#: Each of these statements finds what breaks a promise. {jobs}: those with an effect.
ASSERTIONS = {
    "I1": "SELECT job, slot_key, count(*) FROM runs GROUP BY job, slot_key HAVING count(*) > 1",
    "I3": "SELECT run_id, state FROM runs WHERE (ended_us IS NULL) = (state IN ('succeeded', 'failed', 'timed_out',"
    " 'cancelled', 'lost', 'skipped', 'missed', 'coalesced', 'upstream_failed'))",
    "I4 attempts": "SELECT a.run_id, a.attempt FROM attempts a JOIN attempts b ON b.run_id = a.run_id"
    " AND b.attempt > a.attempt AND b.fence <= a.fence",
    "I4 run": "SELECT r.run_id FROM runs r JOIN attempts a ON a.run_id = r.run_id"
    " GROUP BY r.run_id, r.fence, r.attempt HAVING max(a.fence) <> r.fence OR max(a.attempt) <> r.attempt",
    "I5 effect of a run that has not succeeded": "SELECT p.output, p.version, r.state FROM publications p"
    " LEFT JOIN runs r ON r.run_id = p.run_id WHERE p.run_id IS NOT NULL AND (r.state IS NULL"
    " OR r.state <> 'succeeded')",
    "I5 committed twice": "SELECT run_id, output, count(*) FROM publications WHERE run_id IS NOT NULL"
    " GROUP BY run_id, output HAVING count(*) > 1",
    "I5 succeeded without effect": "SELECT r.run_id, r.job FROM runs r LEFT JOIN publications p ON p.run_id = r.run_id"
    " WHERE r.state = 'succeeded' AND p.run_id IS NULL AND r.job IN ({jobs})",
    "I6": "SELECT p.run_id, p.fence, r.fence FROM publications p JOIN runs r ON r.run_id = p.run_id"
    " WHERE p.fence <> r.fence",
    "I10": "SELECT a.output, a.version FROM publications a JOIN publications b ON b.output = a.output"
    " AND b.version > a.version AND b.built_at < a.built_at",
    "I15": "SELECT name, state, reason FROM jobs WHERE state <> 'enabled'"
    " AND name NOT IN ('counters', 'news', 'recommendations', 'similarity', 'weather')",
}


def expected(schedule: int | str, after_us: int, upto_us: int) -> Iterator[int]:
    """The slots in (after, upto], in microseconds."""
    if isinstance(schedule, int):
        step = schedule * SECOND
        yield from range((after_us // step + 1) * step, upto_us + 1, step)
        return
    # cronsim's instants are whole seconds, strictly after its start.
    for slot in CronSim(schedule, datetime.fromtimestamp(after_us // SECOND, UTC)):
        at = int(slot.timestamp()) * SECOND
        if at > upto_us:
            return
        yield at


def settle(
    world: World,
    timeout: float = 120,
    schedules: Mapping[str, int | str] = SCHEDULES,
    now: Callable[[], float] = time.time,
) -> int:
    """Waits until every slot up to now is recorded and has ended; that instant, in microseconds. The daemons leave."""
    cut = int(now() * SECOND) - SECOND

    def ended() -> bool:
        cursors = dict(tuple(row) for row in world.query("SELECT name, cursor_us FROM jobs"))
        if any(list(expected(line, cursors.get(job, cut), cut)) for job, line in schedules.items()) or not cursors:
            return False
        left = "SELECT count(*) FROM runs WHERE slot_us <= :cut AND ended_us IS NULL"
        return [tuple(row) for row in world.query(left, cut=cut)] == [(0,)]

    try:
        wait_until(ended, "the end of every slot", timeout)
    finally:
        world.leave()
    return cut


def check(
    world: World, cut_us: int, schedules: Mapping[str, int | str] = SCHEDULES, without: Collection[str] = ()
) -> dict[str, Any]:
    """The counts of one scenario; `violations` names every promise that was broken.

    `without`: assertions that the scenario itself makes untrue.
    """
    with_effect = [job for job in schedules if not job.startswith(PLAIN)]
    names = ", ".join(f"'{job}'" for job in ["", *with_effect])
    violations = [
        f"{name}: {tuple(row)}"
        for name, sql in ASSERTIONS.items()
        if name not in without
        for row in world.rows(sql.format(jobs=names))
    ]
    counts = {"slots": 0, "succeeded": 0, "unrun": 0, "lost": 0, "twice": 0, "restarted": 0, "not_done": 0}
    for job, schedule in schedules.items():
        violations += _account(world, job, schedule, cut_us, counts)
    violations += _effects(world, with_effect)
    violations += _log(world, names)
    return {**counts, "violations": violations}


def _account(world: World, job: str, schedule: int | str, cut_us: int, counts: dict[str, int]) -> list[str]:
    """Every expected slot has exactly one row that speaks of it, and no row speaks of any other."""
    found = world.rows("SELECT created_us FROM jobs WHERE name = :job", job=job)
    if not found:
        return [f"I15: job {job} is gone"]
    (created,) = found[0]
    slots = set(expected(schedule, created, cut_us))
    told: dict[int, str] = {}
    violations = []
    rows = world.rows(
        "SELECT slot_us, slot_last_us, slot_count, state, attempt, reason FROM runs"
        " WHERE job = :job AND slot_us IS NOT NULL AND slot_key LIKE 'c:%' ORDER BY slot_us",
        job=job,
    )
    for first, last, count, state, attempt, reason in rows:
        if first > cut_us:
            continue
        own = [slot for slot in slots if first <= slot <= last] if count > 1 else [first]
        if len(own) != count and last <= cut_us:
            violations.append(f"I2: {job}: a row stands for {count} slots, there are {len(own)}")
        for slot in own:
            if slot in told:
                counts["twice"] += 1
                violations.append(f"I2: {job}: slot {slot} is told of twice")
            told[slot] = state
        counts["restarted"] += attempt > 1
        if state not in ("succeeded", "missed", "coalesced", "skipped"):
            counts["not_done"] += 1
            print(f"   not done: {job} {first}: {state}, {reason}", flush=True)
        if state != "succeeded" and not reason:
            violations.append(f"{job}: slot {first} is {state} and nothing says why")
    violations += [f"I2: {job}: slot {slot} is lost" for slot in sorted(slots - set(told))]
    violations += [f"I2: {job}: {slot} is no slot" for slot in sorted(set(told) - slots)]
    counts["slots"] += len(slots)
    counts["lost"] += len(slots - set(told))
    counts["succeeded"] += sum(state == "succeeded" for state in told.values())
    counts["unrun"] += sum(state in ("missed", "coalesced", "skipped") for state in told.values())
    return violations


def _effects(world: World, jobs: list[str]) -> list[str]:
    """What readers see: three rows a slot that succeeded, all of its last fence, and nothing else."""
    violations = []
    for job in jobs:
        runs = {
            slot // SECOND: (run_id, fence)
            for slot, run_id, fence in world.rows(
                # A run that does a slot again has no slot of its own, but says whose it is.
                "SELECT COALESCE(slot_us, slot_last_us), run_id, fence FROM runs WHERE job = :job"
                " AND state = 'succeeded' AND COALESCE(slot_us, slot_last_us) IS NOT NULL",
                job=job,
            )
        }
        seen: dict[int, list[tuple[int, int]]] = {}
        published = world.rows("SELECT 1 FROM outputs WHERE name = :name AND version > 0", name=f"effects_{job}")
        readers = f"SELECT slot, run_id, fence FROM effects_{job}_current"
        for slot, run_id, fence in world.rows(readers) if published else ():
            seen.setdefault(slot, []).append((run_id, fence))
        # Runs by hand share this one.
        seen.pop(0, None)
        for slot in sorted(runs.keys() | seen.keys()):
            if seen.get(slot, []) != [runs.get(slot)] * 3:
                violations.append(f"I5: {job}: slot {slot} is {runs.get(slot)}, readers see {seen.get(slot)}")
    return violations


def _log(world: World, names: str) -> list[str]:
    """The independent log: a fence starts once, a success has an end under its fence, nothing ran that has no row."""
    violations = []
    starts: dict[tuple[int, int], int] = {}
    ends = set()
    for line in world.lines():
        key = (line["run"], line["fence"])
        if line["event"] == "start":
            starts[key] = starts.get(key, 0) + 1
        elif line["event"] == "end":
            ends.add(key)
    violations += [f"log: fence {key} started {n} times" for key, n in starts.items() if n > 1]
    attempts = {(run, fence) for run, fence in world.rows("SELECT run_id, fence FROM attempts")}
    violations += [f"log: {key} ran without an attempt on record" for key in starts.keys() - attempts]
    done = world.rows(f"SELECT run_id, fence FROM runs WHERE state = 'succeeded' AND job IN ({names})")
    violations += [
        f"log: run {run} succeeded under {fence}, which never ended" for run, fence in done if (run, fence) not in ends
    ]
    return violations


def rescues(world: World, kills: list[tuple[float, set[int]]]) -> list[float]:
    """Seconds from each kill of a daemon to the next attempt of every run whose process died with it.

    An attempt counts from its claim where its worker was killed, too, before it had the job started.
    """
    lines = world.lines()
    starts = [line for line in lines if line["event"] == "start"]
    done = {(run, fence) for run, fence in world.rows("SELECT run_id, fence FROM runs WHERE state = 'succeeded'")}
    began: dict[int, dict[int, float]] = {}
    for run, fence, us in world.rows("SELECT run_id, fence, started_us FROM attempts"):
        began.setdefault(run, {})[fence] = us / SECOND
    for line in starts:
        began.setdefault(line["run"], {})[line["fence"]] = line["at"]
    found = []
    for at, pids in kills:
        for line in starts:
            if line["pid"] in pids and line["at"] <= at < line["at"] + 60 and (line["run"], line["fence"]) not in done:
                later = {fence: time for fence, time in began[line["run"]].items() if fence > line["fence"]}
                if later:
                    found.append(later[min(later)] - at)
    return found


def lateness(world: World, cut_us: int) -> list[float]:
    """Seconds from each slot to the moment that a daemon recorded it."""
    rows = world.rows(
        "SELECT created_us - slot_us FROM runs WHERE slot_us <= :cut AND slot_key LIKE 'c:%' AND slot_count = 1",
        cut=cut_us,
    )
    return [us / SECOND for (us,) in rows]
