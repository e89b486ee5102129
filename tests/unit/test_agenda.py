"""The agenda: one heap of next slots, whatever their number."""

from datetime import UTC, datetime, timedelta

from clockmill.agenda import Agenda, Listed
from clockmill.clock_watch import ClockWatch
from clockmill.job_spec import JobSpec
from clockmill.schedule import parse

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def listed(name: str, expression: str) -> Listed:
    return Listed(JobSpec(name, schedule=(expression,)), parse(expression, name=name), "digest")


def agenda(**jobs: str) -> Agenda:
    found = Agenda()
    for name, expression in jobs.items():
        found.put(listed(name, expression), NOON)
    return found


def due(found: Agenda, minute: float) -> list[str]:
    found.collect(at(minute))
    return [job.spec.name for job in found.take()]


def test_jobs_are_due_at_their_slots_and_not_before() -> None:
    found = agenda(five="*/5 * * * *", ten="*/10 * * * *")
    assert found.first() == at(5)
    assert [due(found, minute) for minute in (4.9, 5, 5, 9.9)] == [[], ["five"], [], []]
    assert sorted(due(found, 10)) == ["five", "ten"]
    assert found.first() == at(15)


def test_a_job_whose_slots_were_slept_through_is_due_once() -> None:
    found = agenda(one="* * * * *")
    assert due(found, 30.5) == ["one"]
    assert found.first() == at(31)


def test_a_job_put_again_counts_by_its_new_schedule_only() -> None:
    found = agenda(one="*/5 * * * *")
    found.put(listed("one", "*/20 * * * *"), NOON)
    assert (len(found), found.first()) == (1, at(20))
    assert due(found, 19) == []


def test_a_dropped_job_is_never_due() -> None:
    found = agenda(one="*/5 * * * *", two="*/7 * * * *")
    found.collect(at(5))
    found.drop("one")
    assert found.take() == []
    assert found.first() == at(7)


def test_a_job_without_a_slot_to_come_is_listed_and_never_due() -> None:
    found = agenda(never="0 0 30 2 *")
    assert found.first() is None
    assert found.get("never") is not None


def test_a_job_may_be_set_aside_out_of_turn() -> None:
    found = agenda(one="*/5 * * * *")
    found.hurry("one")
    found.hurry("unknown")
    assert [job.spec.name for job in found.take()] == ["one"]
    assert found.first() == at(5)


def watched(*looks: tuple[float, float]) -> list[timedelta]:
    """The steps seen at (wall minute, boot minute), from noon and minute 0."""
    watch = ClockWatch(NOON, 0)
    return [watch.look(at(wall), int(boot * 60_000_000)) for wall, boot in looks]


def test_time_that_passes_awake_or_asleep_is_no_step() -> None:
    assert watched((1, 1), (500, 500), (500.01, 500.0)) == [timedelta(0)] * 3


def test_a_clock_that_is_set_is_noticed_once() -> None:
    assert watched((61, 1), (62, 2)) == [timedelta(hours=1), timedelta(0)]
    assert watched((-59, 1), (-58, 2)) == [timedelta(hours=-1), timedelta(0)]


def test_only_more_than_three_hours_forward_are_a_correction() -> None:
    watch = ClockWatch(NOON, 0)
    watch.look(at(181), 60_000_000)
    assert watch.leapt is None
    watch.look(at(181 + 182), 120_000_000)
    assert watch.leapt == (at(182), at(363))
