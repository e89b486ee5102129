"""The scheduler on a virtual clock: what is run, what is not, and why."""

from datetime import UTC, datetime, timedelta

import pytest

from clockmill.errors import UsageError
from clockmill.job_spec import JobSpec
from clockmill.schedule import parse
from clockmill.simulate import Simulation, timeline

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    return BEGIN + timedelta(minutes=minute)


def foretell(minutes: float, *specs: JobSpec, lasts: float = 0.5, down=(), workers: int = 9) -> list[tuple]:
    """(slot, slots, state, started, ended), the times in minutes from the beginning."""
    jobs = [(spec, parse(spec.schedule, name=spec.name, jitter=spec.jitter)) for spec in specs]
    windows = [(at(a), at(b)) for a, b in down]
    rows = Simulation(jobs, lambda name: timedelta(minutes=lasts), workers, BEGIN, at(minutes), windows).run()
    return [(minute(row.slot), row.slots, row.state, minute(row.started), minute(row.ended)) for row in rows]


def minute(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - BEGIN) / timedelta(minutes=1)


def every(minutes: int, **policies) -> JobSpec:
    return JobSpec("tick", schedule=(f"*/{minutes} * * * *",), **policies)


def test_slots_run_as_they_come() -> None:
    assert foretell(10, every(5)) == [
        (0, 1, "succeeded", 0, 0.5),
        (5, 1, "succeeded", 5, 5.5),
        (10, 1, "running", 10, 10.5),
    ]


def test_a_slot_that_meets_a_running_one_is_skipped() -> None:
    rows = foretell(10, every(5), lasts=7)
    assert [(row[0], row[2]) for row in rows] == [(0, "succeeded"), (5, "skipped"), (10, "running")]


def test_queue_one_lets_one_slot_wait_and_skips_the_next() -> None:
    rows = foretell(8, every(2, overlap="queue_one"), lasts=5)
    assert rows[:4] == [
        (0, 1, "succeeded", 0, 5),
        (2, 1, "running", 5, 10),
        (4, 1, "skipped", None, 4),
        (6, 1, "queued", None, None),
    ]


def test_queue_all_lets_every_slot_wait_its_turn() -> None:
    rows = foretell(12, every(2, overlap="queue_all"), lasts=5)
    assert [row[3] for row in rows] == [0, 5, 10, None, None, None, None]


@pytest.mark.parametrize("word", ["cancel_previous", "terminate_previous"])
def test_a_slot_may_end_the_run_before_it(word: str) -> None:
    rows = foretell(4, every(2, overlap=word), lasts=5)
    assert rows == [(0, 1, "cancelled", 0, 2), (2, 1, "cancelled", 2, 4), (4, 1, "running", 4, 9)]


def test_allow_lets_runs_lie_beside_each_other() -> None:
    rows = foretell(4, every(2, overlap="allow"), lasts=5)
    assert [row[3] for row in rows] == [0, 2, 4]


def test_after_a_stop_the_latest_slot_runs_and_the_others_are_missed() -> None:
    rows = foretell(25, every(5), down=[(4, 22)])
    assert rows[1:4] == [(20, 1, "succeeded", 22, 22.5), (5, 3, "missed", None, None), (25, 1, "running", 25, 25.5)]


def test_with_a_window_the_others_are_stood_for_by_the_one_that_runs() -> None:
    job = every(5, catch_up_window=timedelta(minutes=13))
    rows = foretell(22, job, down=[(4, 22)])
    found = [(row[0], row[1], row[2]) for row in rows[1:]]
    assert found == [(20, 1, "running"), (5, 1, "missed"), (10, 2, "coalesced")]


def test_earliest_runs_the_first_slot_in_the_window() -> None:
    job = every(5, catch_up="earliest", catch_up_window=timedelta(hours=1))
    rows = foretell(22, job, down=[(4, 22)])
    assert [(row[0], row[1], row[2]) for row in rows[1:]] == [(5, 1, "running"), (10, 3, "coalesced")]


def test_all_runs_every_slot_in_the_window() -> None:
    job = every(5, catch_up="all", catch_up_window=timedelta(hours=1), overlap="queue_all")
    rows = foretell(24, job, down=[(4, 22)])
    assert [row[3] for row in rows[1:]] == [22, 22.5, 23, 23.5]


def test_none_runs_nothing_that_is_late() -> None:
    rows = foretell(25, every(5, catch_up="none"), down=[(4, 22)])
    assert [(row[0], row[1], row[2]) for row in rows[1:]] == [(5, 4, "missed"), (25, 1, "running")]


def test_a_run_that_its_scheduler_left_behind_begins_again() -> None:
    assert foretell(9, every(30), lasts=3, down=[(1, 6)]) == [(0, 1, "succeeded", 6, 9)]


def test_a_run_that_must_not_begin_again_is_lost() -> None:
    assert foretell(9, every(30, on_lost="fail"), lasts=3, down=[(1, 6)]) == [(0, 1, "lost", 0, 1)]


def test_a_run_that_overstays_is_timed_out() -> None:
    assert foretell(9, every(30, timeout=timedelta(minutes=2)), lasts=3) == [(0, 1, "timed_out", 0, 2)]


def test_a_run_waits_for_a_free_worker_and_the_more_urgent_goes_first() -> None:
    jobs = [JobSpec(name, schedule=("@hourly",), priority=priority) for name, priority in (("a", 0), ("b", 5))]
    assert [row[3] for row in foretell(2, *jobs, workers=1)] == [0.5, 0]


def test_jitter_delays_the_start_and_not_the_slot() -> None:
    ((slot, _, _, started, _),) = foretell(29, every(30, jitter=timedelta(minutes=20)))
    assert slot == 0
    delay = parse("*/30 * * * *", name="tick", jitter=timedelta(minutes=20)).delay(BEGIN)
    assert started == delay / timedelta(minutes=1) > 0


def test_too_long_a_time_is_refused_before_it_eats_the_memory() -> None:
    with pytest.raises(UsageError, match="simulate a shorter time"):
        foretell(60 * 24 * 2, JobSpec("tick", schedule=("* * * * * *",)))


def test_the_picture_shows_runs_stops_and_what_was_missed() -> None:
    spec, window = every(5), (at(11), at(29))
    jobs = [(spec, parse(spec.schedule))]
    rows = Simulation(jobs, lambda name: timedelta(minutes=1), 1, BEGIN, at(40), [window]).run()
    assert timeline(rows, BEGIN, at(40), [window], 40) == [
        "      00:00     00:10     00:20     00:3000:40",
        "tick  ##...##...##~~~mmmmmm~~~~~~~~###...##...",
    ]
