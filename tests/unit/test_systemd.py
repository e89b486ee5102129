"""Timers of systemd that mean the same as the schedule, by systemd's own word, or a refusal with its reason."""

import re
from datetime import UTC, datetime

import pytest

from clockmill.errors import ConfigError, ScheduleError
from clockmill.job_spec import JobSpec
from clockmill.schedule import parse
from clockmill.systemd import calendar, units

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ZONE = "America/New_York"


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("15 3 * * *", "*-*-* 03:15:00 America/New_York"),
        ("0 9 * * mon-fri", "Mon,Tue,Wed,Thu,Fri *-*-* 09:00:00 America/New_York"),
        ("*/20 * * * *", "*-*-* *:00,20,40:00 UTC"),
        ("0 4 L * *", "*-*~01 04:00:00 America/New_York"),
        ("0 4 * * fri#2", "Fri *-*-08..14 04:00:00 America/New_York"),
        ("0 4 * * friL", "Fri *-*~01..07 04:00:00 America/New_York"),
        ("@every 6h", "*-*-* 00,06,12,18:00:00 UTC"),
        ("@at 2026-12-24T18:00", "2026-12-24 23:00:00 UTC"),
        ("@reboot", "@reboot"),
    ],
)
def test_a_schedule_is_written_as_systemd_writes_it(expression: str, line: str) -> None:
    assert calendar(parse(expression, timezone=ZONE), NOW) == [line]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("30 2 * * *", "02:30 on 2026-03-08 in America/New_York, which the clock jumps over"),
        ("*/10 1 * * *", "01:00 on 2026-11-01 in America/New_York, which comes twice"),
        ("0 4 15W * *", "W in the day of month"),
        ("0 4 L * +fri#2", "both day fields at once"),
        ("@every 7h", "25200 seconds, which do not divide the day"),
        ("@every 2w", "1209600 seconds, which do not divide the day"),
    ],
)
def test_what_systemd_cannot_say_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(ScheduleError, match=f"systemd cannot say .*{re.escape(reason)}"):
        calendar(parse(expression, timezone=ZONE), NOW)


def test_start_end_and_exclusions_are_refused() -> None:
    with pytest.raises(ScheduleError, match="cannot say a start or an end"):
        calendar(parse("0 4 * * *", start=NOW), NOW)
    with pytest.raises(ScheduleError, match="cannot say exclusions"):
        calendar(parse("0 4 * * *", exclude=["2026-12-24"]), NOW)


def test_a_job_becomes_a_service_and_a_timer() -> None:
    job = JobSpec("news", schedule=("0 4 * * *",))
    found = dict(units([(job, parse(job.schedule))], bin="/opt/clockmill/bin/clockmill", home="/srv/50%", now=NOW))
    assert list(found) == ["clockmill-news.service", "clockmill-news.timer"]
    assert "Environment=CLOCKMILL_HOME=/srv/50%%\n" in found["clockmill-news.service"]
    assert "ExecStart=/opt/clockmill/bin/clockmill run news --slot\n" in found["clockmill-news.service"]
    assert "OnCalendar=*-*-* 04:00:00 UTC\n" in found["clockmill-news.timer"]
    assert "Persistent=true\n" in found["clockmill-news.timer"]


def test_a_job_that_runs_only_when_asked_has_no_units() -> None:
    assert list(units([(JobSpec("news"), None)], bin="/bin/clockmill", home="/srv", now=NOW)) == []


def test_every_refused_job_is_named() -> None:
    jobs = [(JobSpec(name, schedule=("0 4 15W * *",)), parse("0 4 15W * *")) for name in ("one", "two")]
    with pytest.raises(ConfigError, match=r"job one: .*; job two: "):
        list(units(jobs, bin="/bin/clockmill", home="/srv", now=NOW))


def test_a_path_that_a_unit_cannot_hold_is_refused() -> None:
    job = JobSpec("news", schedule=("0 4 * * *",))
    with pytest.raises(ConfigError, match="--home"):
        list(units([(job, parse(job.schedule))], bin="/bin/clockmill", home="/srv/a b", now=NOW))
