"""A schedule said in other words: plain English, lines of system cron, the host's zone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clockmill.errors import ScheduleError
from clockmill.local_zone import local_timezone
from clockmill.schedule import parse


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("15 3 * * *", "At 03:15 every day (Europe/Oslo)"),
        ("*/5 * * * *", "Every fifth minute of every hour (Europe/Oslo)"),
        ("@hourly", "At the start of every hour (Europe/Oslo)"),
        ("30 2 * * mon-fri", "At 02:30 on Monday through Friday (Europe/Oslo)"),
        ("0 0 21,22,23,31 * *", "At 00:00 on the 21st, the 22nd, the 23rd, and the 31st day of month (Europe/Oslo)"),
        ("0 0 11,12,13 * *", "At 00:00 on the 11th, the 12th, and the 13th day of month (Europe/Oslo)"),
        ("*/90 * * * *", "At the start of every hour (Europe/Oslo)"),
        ("0 0 13 * +fri", "At 00:00 on the 13th day of month if it's on Friday (Europe/Oslo)"),
        ("0 0 13 * fri", "At 00:00 on the 13th day of month and on Friday (Europe/Oslo)"),
        ("0 0 30 2 *", "At 00:00 on February 30 (Europe/Oslo): never"),
        ("0 0 L * *", "At 00:00 on the last day of every month (Europe/Oslo)"),
        ("0 0 15W * *", "At 00:00 on the weekday nearest to the 15th day of the month (Europe/Oslo)"),
        ("0 0 L-2 * *", "At 00:00 on the 3rd day of the month counted from its end (Europe/Oslo)"),
        ("0 0 1,LW,L-1 2 *", "At 00:00 on the 1st day of the month, the last weekday of the month, and the 2nd day of "
         "the month counted from its end in February (Europe/Oslo)"),
        ("0 0 * * 1#2,5L", "At 00:00 on the second Monday of the month and the last Friday of the month (Europe/Oslo)"),
        ("30 15 10 * * *", "At 10:15:30 every day (Europe/Oslo)"),
        ("0 0 0 1 1 * 2027,2028", "At 00:00 on January 1 in 2027 and 2028 (Europe/Oslo)"),
        ("0 0 0 1 1 * 1970-2199/2", "At 00:00 on January 1 in every 2 years from 1970 to 2198 (Europe/Oslo)"),
        ("TZ=Asia/Tokyo 0 9 * * *", "At 09:00 every day (Asia/Tokyo)"),
        ("@every 90s", "Every 1 minute and 30 seconds (UTC)"),
        ("@every 6h", "Every 6 hours (UTC)"),
        ("@every 1d", "Every day (UTC)"),
        ("@at 2026-12-24T18:00", "Once, at 2026-12-24 18:00 (Europe/Oslo)"),
        ("@reboot", "When the host starts"),
    ],
)  # fmt: skip
def test_an_expression_in_plain_english(expression: str, words: str) -> None:
    assert parse(expression, timezone="Europe/Oslo").explain() == words


def test_a_hash_is_explained_by_its_number() -> None:
    schedule = parse("H * * * *", name="weather")
    minute = schedule.next(datetime(2026, 1, 1, tzinfo=UTC)).minute  # type: ignore[union-attr]
    assert schedule.explain() == f"At minute {minute} of every hour (UTC)"


def test_several_expressions_are_explained_in_turn() -> None:
    assert parse(["15 3 * * *", "@reboot"]).explain() == "At 03:15 every day (UTC); also: when the host starts"


def test_what_is_laid_around_is_explained() -> None:
    schedule = parse(
        "@daily",
        start=datetime(2026, 1, 1, tzinfo=UTC),
        end=datetime(2026, 12, 31, 12, tzinfo=UTC),
        exclude=["2026-12-24..2026-12-26"],
        jitter=timedelta(minutes=5),
    )
    assert schedule.explain() == (
        "At 00:00 every day (UTC), except 2026-12-24..2026-12-26, from 2026-01-01 00:00 UTC, "
        "until 2026-12-31 12:00 UTC, each delayed by less than 5 minutes"
    )


@pytest.mark.parametrize(
    ("expression", "zone", "line"),
    [
        ("15 3 * * *", "Europe/Oslo", "15 3 * * *"),
        ("05 03 * jan,MAR sun-fri/2", "UTC", "5 3 * 1,3 0-5/2"),
        ("5/20 * ? * *", "UTC", "5-59/20 * * * *"),
        ("*/2,1-9/3 * */2 * 7", "UTC", "*/2,1-9/3 * */2 * 7"),
        ("0 0 */2 * +mon", "UTC", "0 0 */2 * 1"),
        ("@weekly", "UTC", "0 0 * * 0"),
        ("@reboot", "UTC", "@reboot"),
        ("@every 5m", "Europe/Oslo", "*/5 * * * *"),
        ("@every 1m", "Asia/Kolkata", "* * * * *"),
        ("@every 1h", "Europe/Oslo", "0 * * * *"),
        ("@every 1h", "Asia/Kolkata", "30 * * * *"),
        ("@every 45m", "UTC", ""),
        ("@every 6h", "UTC", "0 */6 * * *"),
        ("@every 6h", "Asia/Tokyo", "0 3-23/6 * * *"),
        ("@every 1d", "Asia/Kolkata", "30 5 * * *"),
        ("@every 1w", "Asia/Tokyo", "0 9 * * 4"),
    ],
)  # fmt: skip
def test_a_line_for_system_cron_has_the_same_slots(expression: str, zone: str, line: str) -> None:
    schedule = parse(expression, timezone=zone)
    if not line:
        with pytest.raises(ScheduleError):
            schedule.crontab_lines()
        return
    assert schedule.crontab_lines() == [line]
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    again = parse(line, timezone=zone)
    assert list(again.between(begin, begin + timedelta(days=60), 500)) == list(
        schedule.between(begin, begin + timedelta(days=60), 500)
    )


def test_a_hash_reaches_system_cron_as_its_numbers() -> None:
    [line] = parse("H(0-29)/10 ~ H * *", name="weather").crontab_lines()
    assert parse(line).next(datetime(2026, 1, 1, tzinfo=UTC)) == parse("H(0-29)/10 ~ H * *", name="weather").next(
        datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert not set("H~") & set(line)


@pytest.mark.parametrize(
    ("expression", "settings", "reason"),
    [
        ("30 0 3 * * *", {}, "seconds"),
        ("0 0 3 * * * 2027", {}, "a year"),
        ("0 0 L * *", {}, "L, W or # in the day of month"),
        ("0 0 * * mon#1", {}, "L, W or # in the day of week"),
        ("0 0 13 * +fri", {}, r"both day fields at once \(\+\)"),
        ("@every 7h", {}, "25200 seconds"),
        ("@every 90s", {}, "90 seconds"),
        ("@every 6h", {"timezone": "Europe/Oslo"}, "21600 seconds of elapsed time in Europe/Oslo"),
        ("@at 2026-12-24T18:00", {}, "a single moment"),
        ("@daily", {"exclude": ["2026-12-24"]}, "exclusions"),
        ("@daily", {"jitter": timedelta(seconds=1)}, "jitter"),
        ("@daily", {"start": datetime(2026, 1, 1)}, "a start or an end"),
        ("@daily", {"timezone": "Europe/Oslo", "dst_gap": "skip"}, "dst_gap = skip"),
        (["TZ=Asia/Tokyo 0 0 * * *", "@daily"], {}, "a time zone of its own"),
    ],
)
def test_what_system_cron_cannot_say_is_refused_with_the_reason(
    expression: str, settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(ScheduleError, match=f"system cron cannot say {reason}"):
        parse(expression, **settings).crontab_lines()  # type: ignore[arg-type]


def test_a_policy_that_changes_nothing_in_the_zone_is_no_obstacle() -> None:
    assert parse("@daily", timezone="Asia/Tokyo", dst_gap="skip").crontab_lines() == ["0 0 * * *"]


@pytest.mark.parametrize(
    ("value", "zone"),
    [("Asia/Tokyo", "Asia/Tokyo"), (":Asia/Tokyo", "Asia/Tokyo"), ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo")],
)
def test_the_hosts_zone_is_the_tz_variable(monkeypatch: pytest.MonkeyPatch, value: str, zone: str) -> None:
    monkeypatch.setenv("TZ", value)
    assert local_timezone() == zone


def test_the_hosts_zone_is_else_etc_timezone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "timezone").write_text("America/Havana\n")
    monkeypatch.setattr("clockmill.local_zone._ZONE_FILE", tmp_path / "timezone")
    assert local_timezone() == "America/Havana"


def test_the_hosts_zone_is_else_where_localtime_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr("clockmill.local_zone._ZONE_FILE", tmp_path / "absent")
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Dublin")
    monkeypatch.setattr("clockmill.local_zone._ZONE_LINK", tmp_path / "localtime")
    assert local_timezone() == "Europe/Dublin"


def test_the_hosts_zone_is_else_utc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr("clockmill.local_zone._ZONE_FILE", tmp_path / "absent")
    monkeypatch.setattr("clockmill.local_zone._ZONE_LINK", tmp_path / "absent")
    assert local_timezone() == "UTC"
