"""What the simulation foretells beside what the ledger records, for every policy: the clock is moved by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from clockmill.config import merge
from clockmill.doors import activate, advance
from clockmill.job_spec import CATCH_UP, OVERLAP, JobSpec
from clockmill.mill import Mill
from clockmill.schedule import parse
from clockmill.simulate import Simulation
from clockmill.slots import TICK, instant, micros
from db.ledger import Ledger
from db.run import Claim, Ending, Terms

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
END = BEGIN + timedelta(minutes=40)
STEP = timedelta(seconds=30)
DOWN = (BEGIN + timedelta(minutes=11), BEGIN + timedelta(minutes=23))


class Host:
    """A scheduler without processes: runs last as long as they are said to."""

    def __init__(self, ledger: Ledger, spec: JobSpec, lasts: timedelta) -> None:
        self.ledger, self.spec, self.lasts = ledger, spec, lasts
        self.running: dict[int, tuple[Claim, datetime]] = {}

    def look(self, now: datetime) -> None:
        while self._finish(now) or self._claim(now):
            pass

    def _finish(self, now: datetime) -> bool:
        asked = {row.run_id for row in self.ledger.held(list(self.running)).values() if row.cancel_asked}
        for run_id, (claim, ends) in list(self.running.items()):
            if ends <= now or run_id in asked:
                state = "succeeded" if ends <= now else "cancelled"
                self.ledger.finish(claim, Ending(state), micros(now))
                del self.running[run_id]
                return True
        return False

    def _claim(self, now: datetime) -> bool:
        before = len(self.running)
        for row in self.ledger.claimable(micros(now), 99):
            answer = self.ledger.claim(row.run_id, Terms(self.spec.overlap, self.spec.on_lost), micros(now))
            if isinstance(answer, Claim):
                self.running[row.run_id] = (answer, now + self.lasts)
        asked = any(row.cancel_asked for row in self.ledger.held(list(self.running)).values())
        return len(self.running) > before or asked


def recorded(folder, spec: JobSpec, lasts: timedelta) -> list[tuple]:
    mill = Mill(merge(folder, None, {"redis": {"url": "none"}}, {}))
    schedule = parse(spec.schedule, name=spec.name)
    activate(mill, spec, BEGIN - TICK)
    host = Host(mill.ledger, spec, lasts)
    now = BEGIN
    while now <= END:
        if not DOWN[0] <= now < DOWN[1]:
            advance(mill, spec, schedule, now)
            host.look(now)
        now += STEP
    rows = mill.ledger.runs(spec.name, limit=1000)
    return sorted((instant(r.slot_us), r.slot_count, r.state, started(r), ended(r)) for r in rows)


def started(run) -> str:
    return str(instant(run.started_us)) if run.started_us else "-"


def ended(run) -> str:
    return str(instant(run.ended_us)) if run.ended_us and run.started_us else "-"


def foretold(spec: JobSpec, lasts: timedelta) -> list[tuple]:
    jobs = [(spec, parse(spec.schedule, name=spec.name))]
    rows = Simulation(jobs, lambda name: lasts, 99, BEGIN, END, [DOWN]).run()
    return sorted(
        (
            row.slot,
            row.slots,
            row.state,
            str(row.started) if row.started else "-",
            str(row.ended) if row.ended and row.started and row.state != "running" else "-",
        )
        for row in rows
    )


@pytest.mark.parametrize("overlap", OVERLAP)
@pytest.mark.parametrize("catch_up", CATCH_UP)
def test_the_simulation_foretells_what_the_ledger_records(tmp_path, catch_up, overlap) -> None:
    spec = JobSpec(
        "tick",
        command=("true",),
        schedule=("1,3,5,25-39/2 * * * *", "12-22/2 * * * *"),
        timezone="UTC",
        catch_up=catch_up,
        catch_up_window=timedelta(minutes=8),
        overlap=overlap,
    )
    lasts = timedelta(minutes=3)
    assert recorded(tmp_path, spec, lasts) == foretold(spec, lasts)
