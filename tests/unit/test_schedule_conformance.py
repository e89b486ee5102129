"""Facts that others wrote down: the Open Cron Pattern Specification, other engines' tests, Debian's crontabs."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clockmill.errors import ScheduleError
from clockmill.schedule import Schedule, parse

#: Cases that contradict Vixie's reading, which is ours.
NOT_VIXIE = {
    "* * */10 * Sun": "a day field that starts with a star must agree with the other",
    "0 0 0 */5 Apr,Aug,Oct Mon": "a day field that starts with a star must agree with the other",
    "0 0 28 02 * *": "six fields begin with the seconds here; this engine reads the last as the year",
}


@pytest.fixture
def cron_data(data: Path) -> Path:
    return data / "cron"


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def matches(schedule: Schedule, moment: datetime) -> bool:
    return schedule.previous(moment) == moment


def ocps_holds(vector: dict[str, Any]) -> bool:
    try:
        schedule = parse(vector["expr"])
    except ScheduleError:
        return bool(vector["type"] == "reject")
    if vector["type"] == "reject":
        return False
    yes = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in vector.get("must_match", [])]
    no = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in vector.get("must_not_match", [])]
    return all(matches(schedule, at) for at in yes) and not any(matches(schedule, at) for at in no)


def test_all_34_vectors_of_the_open_cron_pattern_specification_hold(cron_data: Path) -> None:
    vectors = records(cron_data / "ocps" / "vectors.jsonl")
    assert [vector["expr"] for vector in vectors if not ocps_holds(vector)] == []
    assert len(vectors) == 34


def read_moment(text: str) -> tuple[datetime, str]:
    """(UTC instant, zone in which the case is meant)."""
    zone, _, rest = text.removeprefix("TZ=").rpartition(" ") if text.startswith("TZ=") else ("", "", text)
    if re.match(r"\d{4}-\d\d-\d\dT", rest):
        return datetime.strptime(rest, "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC), zone or "UTC"
    for form in ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M %Y", "%Y-%m-%d %H:%M:%S", "%a %Y-%m-%d %H:%M"):
        try:
            return datetime.strptime(rest, form).replace(tzinfo=UTC), zone or "UTC"
        except ValueError:
            continue
    raise AssertionError(f"no known form of time: {text}")


def asserted_holds(case: dict[str, Any]) -> bool:
    if case["kind"] == "invalid":
        with pytest.raises(ScheduleError):
            parse(case["expr"])
        return True
    at, zone = read_moment(case.get("at") or case["from"])
    try:
        schedule = parse(case["expr"], timezone=zone)
    except ScheduleError:
        return False
    if case["kind"] == "match":
        return bool(matches(schedule, at) == case["expect"])
    expected = [read_moment(text)[0] for text in case["expect"]]
    return list(schedule.between(at, at + timedelta(days=3660), 1)) == expected


def test_the_asserted_cases_of_other_engines_hold_but_for_three_that_are_not_vixie(cron_data: Path) -> None:
    cases = records(cron_data / "asserted_cases.jsonl")
    assert {case["expr"] for case in cases if not asserted_holds(case)} == set(NOT_VIXIE)
    assert len(cases) == 140


def crontab_schedules(path: Path) -> list[str]:
    """The schedule fields of a Debian crontab's lines."""
    found = []
    for raw in path.read_text("utf-8", "replace").splitlines():
        line = raw.strip()
        if not line or line.startswith("#") or re.match(r"\w+\s*=", line):
            continue
        words = line.split()
        found.append(words[0] if line.startswith("@") else " ".join(words[:5]))
    return found


def test_every_schedule_in_debians_crontabs_parses(cron_data: Path) -> None:
    files = [path for path in sorted((cron_data / "debian-cron.d").iterdir()) if "anacrontab" not in path.name]
    expressions = [expression for path in files for expression in crontab_schedules(path)]
    for expression in expressions:
        schedule = parse(expression)
        assert schedule.is_reboot or schedule.next(datetime(2026, 1, 1, tzinfo=UTC)) is not None
    assert len(files) == 79
    assert len(expressions) >= 110


def test_debians_schedules_survive_the_way_to_system_cron_and_back(cron_data: Path) -> None:
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC)
    for path in sorted((cron_data / "debian-cron.d").iterdir()):
        for expression in [] if "anacrontab" in path.name else crontab_schedules(path):
            schedule = parse(expression, timezone="Europe/Oslo", name="job")
            again = parse(schedule.crontab_lines(), timezone="Europe/Oslo")
            assert list(again.between(begin, end, 200)) == list(schedule.between(begin, end, 200)), expression
