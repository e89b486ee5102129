import errno
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clockmill.health import Health

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def status(health: Health) -> dict[str, object]:
    found: dict[str, object] = json.loads(health.path.read_text())
    return found


def test_a_loop_that_comes_round_is_healthy(tmp_path: Path) -> None:
    health = Health(tmp_path, "host", NOON)
    health.report(NOON + timedelta(seconds=1), jobs=5, workers=4, busy=0)
    assert (status(health)["healthy"], status(health)["jobs"]) == (True, 5)


def test_a_loop_that_stopped_is_told_at_once(tmp_path: Path) -> None:
    health = Health(tmp_path, "host", NOON)
    health.report(NOON + timedelta(seconds=1))
    health.report(NOON + timedelta(seconds=6))
    assert status(health)["healthy"] is False


def test_a_clock_that_was_set_back_is_no_fault(tmp_path: Path) -> None:
    health = Health(tmp_path, "host", NOON)
    health.report(NOON - timedelta(hours=1))
    assert status(health)["healthy"] is True


def test_a_scheduler_that_ends_leaves_no_file(tmp_path: Path) -> None:
    health = Health(tmp_path, "host", NOON)
    health.report(NOON)
    health.close()
    assert list(tmp_path.iterdir()) == []


def test_systemd_hears_ready_once_then_the_watchdog_and_nothing_while_the_loop_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        health = Health(tmp_path / "status", "host", NOON)
        for seconds in (0, 1, 20):
            health.report(NOON + timedelta(seconds=seconds))
        assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1\nWATCHDOG=1", b"WATCHDOG=1"]
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


def test_a_complaint_is_told_until_it_goes_well_again(tmp_path: Path) -> None:
    health = Health(tmp_path, "host", NOON)
    health.told("audit", "the database is away")
    health.report(NOON)
    assert (status(health)["healthy"], status(health)["problem"]) == (False, "the database is away")
    health.told("audit", "")
    health.report(NOON + timedelta(seconds=1))
    assert (status(health)["healthy"], status(health)["problem"]) == (True, None)


def test_a_database_that_is_away_is_no_reason_for_systemd_to_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("clockmill.health.notify", said.append)
    health = Health(tmp_path, "host", NOON)
    health.told("audit", "the database is away")
    health.report(NOON)
    assert said == ["READY=1\nWATCHDOG=1"]


def test_where_there_is_no_room_for_another_file_the_old_one_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    health = Health(tmp_path, "host", NOON)
    health.report(NOON)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    health.told("room", "no room in var")
    health.report(NOON + timedelta(seconds=1))
    assert status(health)["problem"] == "no room in var"
