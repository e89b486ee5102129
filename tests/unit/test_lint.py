"""What lint says about schedules that are allowed and hardly meant."""

from datetime import UTC, datetime, timedelta

import pytest

from clockmill.job_spec import JobSpec
from clockmill.lint import lint_jobs, lint_schedule
from clockmill.schedule import parse

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def said(expression: str, timezone: str = "America/New_York") -> list[str]:
    return [f"{one.rule}: {one.sentence}" for one in lint_schedule(parse(expression, timezone=timezone), NOW)]


def about(*jobs: JobSpec, **usual: timedelta) -> list[tuple[str, str]]:
    listed = [(job, parse(job.schedule, name=job.name) if job.schedule else None) for job in jobs]
    return [(names, one.rule) for names, one in lint_jobs(listed, NOW, usual)]


@pytest.mark.parametrize(
    "expression", ["*/61 * * * *", "50/20 * * * *", "H/90 * * * *", "0 0 1-5/9 * *", "0 0 * jan-mar/5 *"]
)
def test_a_step_larger_than_its_range_is_found(expression: str) -> None:
    (finding,) = said(expression)
    assert finding.startswith("step: ")


@pytest.mark.parametrize(
    "expression", ["*/5 * * * *", "*/59 * * * *", "H * * * *", "0 0 * * *", "0 4 * * mon-fri", "@daily", "@every 5m"]
)
def test_a_plain_schedule_has_no_findings(expression: str) -> None:
    assert said(expression) == []


def test_two_day_fields_are_told_as_either() -> None:
    assert said("0 0 13 * fri") == [
        "day-fields: a day counts when day of month 13 or day of week fri matches; for both write +fri"
    ]


def test_two_day_fields_are_told_as_both_when_one_starts_with_a_star() -> None:
    assert said("0 0 */2 * mon")[0].startswith("day-fields: a day must match day of month */2 and day of week mon")


def test_a_plus_says_that_both_day_fields_are_meant() -> None:
    assert said("0 0 13 * +fri") == []


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 31 * *", "5 of its 12 months end before day 31"),
        ("0 0 1,30 * *", "1 of its 12 months end before day 30"),
        ("0 0 29 2 *", "most Februaries end before day 29"),
    ],
)
def test_a_day_that_months_lack_is_found(expression: str, words: str) -> None:
    (finding,) = said(expression)
    assert finding.startswith(f"short-month: {words}")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 2 * * *", "02:30 on 2026-03-08 does not exist in America/New_York: it runs right after the jump"),
        ("30 1 * * *", "01:30 on 2026-11-01 comes twice in America/New_York: it runs the first time"),
        ("*/15 2 * * *", "02:00 on 2026-03-08 does not exist in America/New_York: it does not run then"),
        ("*/15 1 * * *", "01:00 on 2026-11-01 comes twice in America/New_York: it runs both times"),
    ],
)
def test_a_time_in_the_next_change_of_the_clock_is_found(expression: str, words: str) -> None:
    assert said(expression)[0].startswith(f"clock-change: {words}")


def test_a_zone_without_summer_time_has_no_such_times() -> None:
    assert said("30 2 * * *", "Asia/Tokyo") == []


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 0 1 1 * 1999", "@at 2020-01-01T00:00"])
def test_an_expression_without_a_slot_to_come_is_found(expression: str) -> None:
    (finding,) = said(expression)
    assert finding.startswith("never: ")


def test_one_of_several_expressions_may_never_come() -> None:
    schedule = parse(["0 4 * * *", "0 0 30 2 *"])
    assert [one.rule for one in lint_schedule(schedule, NOW)] == ["never"]


def test_a_percent_sign_in_a_command_is_found() -> None:
    assert about(JobSpec("dump", command=("date +%F",), shell=True)) == [("dump", "percent")]


def test_a_timeout_longer_than_the_period_is_found_unless_the_job_is_known_to_be_quick() -> None:
    job = JobSpec("often", schedule=("*/5 * * * *",), timeout=timedelta(minutes=10))
    assert about(job) == [("often", "overlap")]
    assert about(job, often=timedelta(seconds=2)) == []


def test_a_job_that_usually_takes_longer_than_its_period_is_found() -> None:
    job = JobSpec("often", schedule=("* * * * *",))
    assert about(job, often=timedelta(seconds=61)) == [("often", "overlap")]


def test_a_job_that_may_overlap_is_left_alone() -> None:
    job = JobSpec("often", schedule=("* * * * *",), overlap="allow", timeout=timedelta(minutes=5))
    assert about(job) == []


def test_heavy_jobs_in_one_minute_are_found_once() -> None:
    one, two = JobSpec("one", schedule=("0 3 * * *",)), JobSpec("two", schedule=("30 0 3 * * *",))
    assert about(one, two) == [("one, two", "same-minute")]


def test_quick_jobs_may_share_a_minute() -> None:
    one, two = JobSpec("one", schedule=("0 3 * * *",)), JobSpec("two", schedule=("0 3 * * *",))
    assert about(one, two, one=timedelta(seconds=1)) == []
