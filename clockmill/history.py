"""What past runs tell about the next ones."""

from collections.abc import Iterable
from datetime import timedelta
from statistics import median

from db.ledger import Ledger

#: The latest so many successes of a job say how long it takes.
LOOKED_AT = 20


def usual_durations(ledger: Ledger, jobs: Iterable[str]) -> dict[str, timedelta]:
    """The median of each job's latest successes; a job that never succeeded is left out."""
    found = {}
    for job in jobs:
        runs = ledger.runs(job, "succeeded", LOOKED_AT)
        lengths = [run.ended_us - run.started_us for run in runs if run.started_us and run.ended_us]
        if lengths:
            found[job] = timedelta(microseconds=median(lengths))
    return found
