from sqlalchemy import Engine, insert, select

from db import retention
from db.engine import read, write
from db.tables import attempts, runs

SECOND = 1_000_000


def record(engine: Engine, states: list[str], job: str = "mill") -> None:
    """Runs 1, 2, ... of consecutive slots, one second apart, each ended at its slot."""
    with write(engine) as connection:
        for n, state in enumerate(states, start=1):
            at = n * SECOND
            row = {"run_id": n, "job": job, "slot_key": f"c:{n}", "slot_us": at, "slot_last_us": at, "slot_count": 1}
            row |= {"trigger": "schedule", "state": state, "due_us": at, "created_us": at, "priority": 0, "forced": 0}
            row |= {"params_json": "{}", "attempt": 1, "lost": 0, "fence": 1, "cancel_asked": 0}
            connection.execute(insert(runs), {**row, "ended_us": None if state == "running" else at})
            one = {"run_id": n, "attempt": 1, "fence": 1, "owner": "o", "host": "h", "started_us": at, "state": state}
            connection.execute(insert(attempts), {**one, "log": f"{n}.1.log"})


def left(engine: Engine) -> list[int]:
    with read(engine) as connection:
        return list(connection.execute(select(runs.c.run_id).order_by(runs.c.run_id)).scalars())


def test_runs_that_ended_long_ago_go_with_their_attempts_and_name_their_logs(database: Engine) -> None:
    record(database, ["succeeded", "failed", "succeeded", "succeeded"])
    assert retention.prune_runs(database, "mill", before_us=3 * SECOND, keep=100) == (2, ["1.1.log", "2.1.log"])
    assert left(database) == [3, 4]
    assert retention.logs(database, "mill") == ["4.1.log", "3.1.log"]


def test_only_the_newest_so_many_stay(database: Engine) -> None:
    record(database, ["succeeded"] * 5)
    assert retention.prune_runs(database, "mill", before_us=0, keep=2)[0] == 3
    assert left(database) == [4, 5]


def test_a_run_that_has_not_ended_stays(database: Engine) -> None:
    record(database, ["running", "succeeded", "succeeded"])
    retention.prune_runs(database, "mill", before_us=10 * SECOND, keep=1)
    assert 1 in left(database)


def test_the_run_of_the_latest_slot_stays_however_old(database: Engine) -> None:
    record(database, ["succeeded", "succeeded"])
    retention.prune_runs(database, "mill", before_us=10 * SECOND, keep=1)
    assert left(database) == [2]


def test_runs_of_other_jobs_stay(database: Engine) -> None:
    record(database, ["succeeded", "succeeded"], job="other")
    assert retention.prune_runs(database, "mill", before_us=10 * SECOND, keep=1) == (0, [])
    assert left(database) == [1, 2]
