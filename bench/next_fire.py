"""Microseconds of processor time for one next fire time: croniter, cronsim, APScheduler and clockmill, in one run.

    python bench/next_fire.py          (needs croniter: pip install croniter)

Each engine walks along its own answers, as a scheduler does. All must give the same times before anything is timed.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

from clockmill.schedule import parse

BEGIN = datetime(2026, 1, 1, 12, 31, tzinfo=UTC)
STEPS = 400
ROUNDS = 5
CASES = [
    ("0 4 * * *", "UTC"),
    ("0 4 * * *", "America/New_York"),
    ("0 0 29 2 *", "UTC"),
    ("*/5 * * * *", "UTC"),
    ("0 * * * *", "UTC"),
    ("*/15 9-17 * * mon-fri", "America/New_York"),
]
Walk = Callable[[str, str], Iterator[datetime]]


def by_croniter(expression: str, zone: str) -> Iterator[datetime]:
    walker = croniter(expression, BEGIN.astimezone(ZoneInfo(zone)))
    while True:
        yield walker.get_next(datetime)


def by_cronsim(expression: str, zone: str) -> Iterator[datetime]:
    yield from CronSim(expression, BEGIN if zone == "UTC" else BEGIN.astimezone(ZoneInfo(zone)))


def by_apscheduler(expression: str, zone: str) -> Iterator[datetime]:
    trigger = CronTrigger.from_crontab(expression, timezone=ZoneInfo(zone))
    moment = trigger.get_next_fire_time(None, BEGIN)
    while moment:
        yield moment
        moment = trigger.get_next_fire_time(moment, moment)


def by_clockmill(expression: str, zone: str) -> Iterator[datetime]:
    schedule = parse(expression, timezone=zone)
    moment = schedule.next(BEGIN)
    while moment:
        yield moment
        moment = schedule.next(moment)


ENGINES: dict[str, Walk] = {
    "croniter": by_croniter,
    "cronsim": by_cronsim,
    "APScheduler": by_apscheduler,
    "clockmill": by_clockmill,
}


def microseconds(walk: Walk, expression: str, zone: str) -> float:
    """Best of some rounds."""
    best = math.inf
    for _ in range(ROUNDS):
        steps = walk(expression, zone)
        next(steps)
        begin = time.process_time()
        taken = sum(1 for _ in islice(steps, STEPS))
        best = min(best, (time.process_time() - begin) / taken)
    return best * 1e6


def check_equal(expression: str, zone: str) -> None:
    answers = {
        name: [moment.astimezone(UTC) for moment in islice(walk(expression, zone), 100)]
        for name, walk in ENGINES.items()
    }
    for name, moments in answers.items():
        if moments != answers["clockmill"]:
            sys.exit(f"{name} gives other times for {expression} in {zone}: nothing to compare")


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> None:
    for case in CASES:
        check_equal(*case)
    rows = [(*case, {name: microseconds(walk, *case) for name, walk in ENGINES.items()}) for case in CASES]
    print(f"{'expression':24}{'zone':18}" + "".join(f"{name:>13}" for name in ENGINES))
    for expression, zone, taken in rows:
        print(f"{expression:24}{zone:18}" + "".join(f"{taken[name]:13.2f}" for name in ENGINES))
    ratios = {
        name: round(geometric_mean([taken[name] / taken["clockmill"] for *_, taken in rows]), 1)
        for name in ENGINES
        if name != "clockmill"
    }
    print("times faster, geometric mean: " + json.dumps(ratios))


if __name__ == "__main__":
    main()
