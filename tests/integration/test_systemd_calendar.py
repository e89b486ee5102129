"""Timers of systemd beside the schedule that they were made from: systemd itself says when they come."""

import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from clockmill.errors import ScheduleError
from clockmill.job_spec import JobSpec
from clockmill.schedule import parse
from clockmill.systemd import calendar, units

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ZONE = "America/New_York"
#: So many slots are compared at most.
MOST = 60
SAME = [
    "15 3 * * *", "*/5 * * * *", "7,37 * * * *", "0 */6 * * *", "30 4-8 * * *", "0 9 * * mon-fri", "0 0 13 * fri",
    "0 4 13 * +fri", "0 4 */2 * mon", "0 4 L * *", "0 4 L-2 * *", "0 4 * * fri#2", "0 4 * * fri#5", "0 4 1-10 * +mon#1",
    "0 4 * * friL,tue#1", "0 4 29 2 *", "0 4 31 jan,mar *", "10 0 4 * * *", "*/15 30 4 * * *",
    "0 0 4 1 * * 2026-2028/2",
    "@daily", "@monthly", "@hourly", "@every 90s", "@every 40m", "@every 8h", "@every 1d", "@every 1w",
]  # fmt: skip


def slots_by_systemd(
    analyze: str, lines: list[str], after: datetime, until: datetime, most: int = 60
) -> list[datetime]:
    """What systemd makes of the lines together."""
    found = set()
    for line in lines:
        base = f"{after:%Y-%m-%d %H:%M:%S} UTC"
        said = subprocess.run(
            [analyze, "calendar", f"--base-time={base}", f"--iterations={MOST}", line],
            capture_output=True,
            text=True,
            check=True,
            env={"TZ": "UTC", "LC_ALL": "C"},
        ).stdout
        for moment in re.findall(r"(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ (\S+ \S+) UTC", said):
            found.add(datetime.strptime(moment, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC))
    return sorted(slot for slot in found if slot <= until)[:MOST]


@pytest.mark.parametrize("zone", [ZONE, "Asia/Kolkata", "Australia/Lord_Howe"])
@pytest.mark.parametrize("expression", SAME)
def test_systemd_comes_to_the_same_slots(analyze: str, expression: str, zone: str) -> None:
    schedule = parse(expression, timezone=zone)
    try:
        lines = calendar(schedule, NOW)
    except ScheduleError:
        assert zone == "Australia/Lord_Howe", "only half an hour of summer time may be beyond systemd here"
        return
    for begin in (datetime(2026, 3, 7, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)):
        until = begin + timedelta(days=3650)
        expected = list(schedule.between(begin, until, 40))
        assert slots_by_systemd(analyze, lines, begin, until)[: len(expected)] == expected


@pytest.mark.parametrize("zone", [ZONE, "Europe/Oslo"])
def test_systemd_leaves_out_what_the_clock_jumps_over_and_takes_the_first_of_two(analyze: str, zone: str) -> None:
    schedule = parse("30 1,2 * * *", timezone=zone, dst_gap="skip")
    for begin in (datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)):
        until = begin + timedelta(days=14)
        lines = calendar(schedule, NOW)
        assert slots_by_systemd(analyze, lines, begin, until) == list(schedule.between(begin, until))


def test_systemd_accepts_the_units(analyze: str, tmp_path) -> None:
    job = JobSpec("news", schedule=("0 4 13 * fri",), jitter=timedelta(minutes=5))
    for name, text in units([(job, parse(job.schedule))], bin="/bin/true", home="/srv", now=NOW):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "clockmill-news.timer"], capture_output=True, text=True, check=False
    )
    assert "clockmill-news" not in done.stderr
