"""Keeps an embedded Redis: starts it apart from whoever asked for it, and ends it when nobody uses it any more.

    python -m db.redis_keeper LINK LOCK SOCKET IDLE_SECONDS [SERVER ARGUMENT...]

Without SERVER, the server that already answers on SOCKET is taken over. The first process stays until the server
answers: exit code 0, or 1 with the reason on stdout. Its stdin is the caller's locked LOCK file, so that the lock
is held to the end of the start even when the caller dies.

It lives as long as Redis does, so it stays small: the standard library only, no redis-py, nothing of clockmill.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: The name of the keeper's own connection, by which it tells itself from clients.
NAME = "clockmill-keeper"
#: How long a server may take until it answers.
START_S = 10.0
#: How often clients are counted, unless the idle time is shorter than four of these.
POLL_S = 1.0
#: How long a server that was asked to leave may take.
LEAVE_S = 5.0


class ServerError(Exception):
    """Redis answered with an error; it is alive all the same."""


class Connection:
    """The Redis protocol over a unix socket, just enough to ask and read one answer. Raises OSError when cut off."""

    def __init__(self, path: Path, timeout_s: float | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(os.fspath(path))
        except OSError:
            self.socket.close()
            raise
        self._answers = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exc: object) -> None:
        self._answers.close()
        self.socket.close()

    def ask(self, *words: str) -> str:
        """One command, its one answer as text; raises ServerError for an error answer."""
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in map(os.fsencode, words))
        self.socket.sendall(b"*%d\r\n%b" % (len(words), parts))
        kind, text = self._line()
        if kind == "-":
            raise ServerError(text)
        if kind == "$":
            return os.fsdecode(self._answers.read(int(text) + 2)[:-2])
        return text

    def _line(self) -> tuple[str, str]:
        line = os.fsdecode(self._answers.readline())
        if not line.endswith("\r\n"):
            raise ConnectionResetError("the server closed the connection")
        return line[0], line[1:-2]


def main(arguments: list[str]) -> int:
    """Starts or takes over a server, leaves a keeper behind, and answers when Redis does."""
    link, lock, path = map(Path, arguments[:3])
    reason = _apart(lambda ready: keep(link, lock, path, float(arguments[3]), arguments[4:], ready))
    sys.stdout.write(reason)
    return 1 if reason else 0


def _apart(work: Callable[[Callable[[str], None]], None]) -> str:
    """Runs `work` in a session of its own, with no parent to wait for it; returns what it reports, "" for ready."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.setsid()
        if os.fork():
            os._exit(0)
        os.close(reading)
        _work_quietly(work, writing)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as report:
        return report.read()


def _work_quietly(work: Callable[[Callable[[str], None]], None], writing: int) -> None:
    # stdin, the caller's lock, is left alone until the server answers.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.chdir("/")
    # A caller that blocks signals would hand the mask down, and Redis could not be ended by SIGTERM.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def ready(reason: str) -> None:
        os.dup2(nothing, 0)
        os.write(writing, os.fsencode(reason))
        os.close(writing)

    try:
        work(ready)
    finally:
        os._exit(0)


def keep(link: Path, lock: Path, path: Path, idle_s: float, arguments: list[str], ready: Callable[[str], None]) -> None:
    """From start to end of one server: waits until it answers, points the link at it, watches, ends it, clears up."""
    server = _start(arguments, lock.with_name("redis.log")) if arguments else None
    try:
        connection = _first_answer(path, server)
        connection.ask("CLIENT", "SETNAME", NAME)
        _point(link, path)
    except (OSError, ServerError) as e:
        if server:
            server.kill()
        return ready(str(e) or type(e).__name__)
    ready("")
    try:
        _watch(connection, link, lock, path, idle_s)
    except OSError:
        path.unlink(missing_ok=True)  # killed, so its socket is still there
    finally:
        if server:
            server.wait()


def _start(arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent)


def _first_answer(path: Path, server: "subprocess.Popen[bytes] | None") -> Connection:
    deadline = time.monotonic() + START_S
    while True:
        try:
            connection = Connection(path)
            connection.ask("PING")
            return connection
        except OSError:
            if server is None or server.poll() is not None:
                raise ConnectionResetError("the server ended while it started") from None
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {START_S:.0f} s") from None
        time.sleep(0.005)


def _point(link: Path, path: Path) -> None:
    new = link.with_name(f"{path.stem}.link")
    new.symlink_to(path)
    new.replace(link)


def _watch(connection: Connection, link: Path, lock: Path, path: Path, idle_s: float) -> None:
    """Returns when the server has left: nobody used it for `idle_s`, or nobody can find it any more."""
    seen, since = -1, time.monotonic()
    while _leads_to(link, path):
        clients, connections = _census(connection)
        if clients or connections != seen:
            seen, since = connections, time.monotonic()
        elif time.monotonic() - since >= idle_s and _leave_unless_asked_for(connection, lock, seen):
            return
        time.sleep(min(POLL_S, idle_s / 4))
    # Folder removed, or another server in its place: clients still here must find the other one.
    _leave(connection)


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path and path.exists()
    except OSError:
        return False


def _census(connection: Connection) -> tuple[int, int]:
    """How many clients there are, and how many connections there ever were: a short one falls between two counts."""
    try:
        clients = [line for line in connection.ask("CLIENT", "LIST").splitlines() if f" name={NAME} " not in line]
        stats = dict(line.split(":", 1) for line in connection.ask("INFO", "stats").splitlines() if ":" in line)
        return len(clients), int(stats["total_connections_received"])
    except ServerError:  # busy with a long script, so there is a client
        return 1, -1


def _leave_unless_asked_for(connection: Connection, lock: Path, seen: int) -> bool:
    """Ends the server while nobody can ask for it: whoever does holds the lock, or was counted, or starts a new one."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unused = _census(connection) == (0, seen)
            if unused:
                _leave(connection)
            return unused
    except (BlockingIOError, FileNotFoundError):
        return False


def _leave(connection: Connection) -> None:
    connection.socket.settimeout(LEAVE_S)
    try:
        connection.ask("SHUTDOWN", "NOSAVE")
    except ConnectionResetError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
