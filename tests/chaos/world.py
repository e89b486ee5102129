"""One home, one database, several daemons: what every scenario is played in."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from nursery import Child, Nursery
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

T = TypeVar("T")

CHECKOUT = Path(__file__).parents[2]
HERE = Path(__file__).parent
JOBS = HERE / "jobs"
SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1/test",
    "mariadb": "mysql+pymysql://root@127.0.0.1/test",
}
KINDS = ("sqlite", *SERVERS)
BUILT_IN = ("counters", "news", "recommendations", "similarity", "weather")
#: Short enough for many kills in little time; one scenario has the 30 s that users have.
LEASE_S = 6


@cache
def _nursery() -> Nursery:
    return Nursery()


def _command(program: list[str] | None = None) -> list[str]:
    """The command line of this checkout, whatever else is installed."""
    return [sys.executable, *(program or ["-c", "from clockmill.cli import main; main()"])]


def processes_below(root: int) -> list[int]:
    """Every process below this one, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def marked(word: str) -> list[int]:
    """The living processes that have this word in their environment or on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if state != "Z" and word.encode() in told:
                    found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], T | None], what: str, timeout: float) -> T:
    until = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.1)
    return found


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Daemon:
    """One `clockmill scheduler`, or what these words begin."""

    def __init__(
        self,
        world: "World",
        environment: dict[str, str],
        program: list[str] | None = None,
        words: Sequence[str] = (),
    ) -> None:
        self.log = world.folder / f"daemon-{uuid.uuid4().hex[:8]}.log"
        self.words = words = list(words) or ["scheduler", "--workers", str(world.workers)]
        told = {**world.environment, **environment}
        if world.bare or program or "LD_PRELOAD" in told or told["PYTHONPATH"] != str(CHECKOUT):
            self.process: Child | subprocess.Popen[bytes] = self._from_disk([*_command(program), *words], world, told)
        else:
            self.process = _nursery().start(words, told, world.folder, self.log)
        self.pid = self.process.pid

    def _from_disk(self, words: list[str], world: "World", environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        with self.log.open("wb") as log:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=world.folder,
                env=environment,
                start_new_session=True,
            )

    def ready(self) -> bool:
        told = self.log.read_bytes() if self.log.exists() else b""
        return b" scheduling " in told or b" working f" in told

    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def tree(self) -> list[int]:
        return [self.pid, *processes_below(self.pid)]

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()


class World:
    """Everything of one scenario, in a folder and a database of its own."""

    def __init__(
        self,
        kind: str,
        *,
        lease_s: int = LEASE_S,
        redis: str = "none",
        workers: int = 4,
        config: str = "",
        jobs: Path | None = JOBS,
        url: str | None = None,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        bare: bool = False,
    ) -> None:
        """`bare`: daemons are programs from the disk, whose environment /proc shows."""
        self.kind, self.workers, self.lease_s, self.bare = kind, workers, lease_s, bare
        self.folder = folder or Path(tempfile.mkdtemp(prefix="chaos-"))
        self.events = self.folder / "events.log"
        self.mark = f"chaos-{uuid.uuid4().hex}"
        self.url = url or self._make_database()
        self.daemons: list[Daemon] = []
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CLOCKMILL_HOME": str(self.folder),
            "CLOCKMILL_LEASE_S": str(lease_s),
            "CHAOS_LOG": str(self.events),
            "CHAOS_MARK": self.mark,
            "NUMBA_CACHE_DIR": str(self.folder),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        off = "".join(f"[jobs.{name}]\nenabled = false\n" for name in BUILT_IN)
        folders = f"job_folders = [{json.dumps(str(jobs))}]" if jobs else ""
        self.configure(
            f'[database]\nurl = {json.dumps(self.url)}\n[redis]\nurl = "{redis}"\n'
            f'[scheduler]\ntimezone = "UTC"\n{folders}\n{off}{config}'
        )
        self.run("db", "upgrade")

    # -- files and databases

    def configure(self, toml: str) -> None:
        (self.folder / "clockmill.toml").write_text(toml, encoding="utf-8")

    def _make_database(self) -> str:
        if self.kind == "sqlite":
            return f"sqlite:///{self.folder / 'var' / 'clockmill.db'}"
        server = make_url(os.environ.get(f"CLOCKMILL_TEST_{self.kind.upper()}", SERVERS[self.kind]))
        self._server, self._name = server, f"clockmill_chaos_{uuid.uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {self._name}")
        return server.set(database=self._name).render_as_string(hide_password=False)

    def _administer(self, statement: str) -> None:
        engine = create_engine(self._server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def engine(self) -> Engine:
        from db.engine import open_engine

        return open_engine(self.url)

    def rows(self, sql: str, **values: Any) -> list[Any]:
        """Rows of a SELECT. An assertion that cannot be asked must not pass, so this raises."""
        if not hasattr(self, "_engine"):
            self._engine = self.engine()
        with self._engine.connect() as connection:
            return list(connection.execute(text(sql), values))

    def query(self, sql: str, **values: Any) -> list[Any]:
        """The same while things break; no rows while the database, or an output's table, is away."""
        try:
            return self.rows(sql, **values)
        except (OperationalError, ProgrammingError, InterfaceError):
            return []

    # -- processes

    def run(self, *words: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_command(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environment, **environment},
            timeout=timeout,
            check=False,
        )

    def start(
        self,
        count: int = 1,
        wait: bool = True,
        program: list[str] | None = None,
        words: Sequence[str] = (),
        **environment: str,
    ) -> list[Daemon]:
        started = [Daemon(self, environment, program, words) for _ in range(count)]
        self.daemons += started
        for daemon in started if wait else ():
            wait_until(lambda d=daemon: d.ready() or not d.alive(), "the daemon's start", 60)
        return started

    def replace(self, daemon: Daemon, **environment: str) -> Daemon:
        """Another daemon in the place of a dead one."""
        self.daemons.remove(daemon)
        return self.start(wait=False, words=daemon.words, **environment)[0]

    def wait_for_slots(self, count: int, timeout: float) -> None:
        """Until so many slots are recorded."""
        recorded = "SELECT count(*) FROM runs WHERE slot_us IS NOT NULL"
        wait_until(lambda: [row[0] >= count for row in self.query(recorded)] == [True], f"{count} slots", timeout)

    def leave(self) -> None:
        """Every daemon is told to leave, and does."""
        for daemon in self.daemons:
            daemon.send(signal.SIGTERM)
        for daemon in self.daemons:
            with suppress(subprocess.TimeoutExpired):
                daemon.process.wait(45)

    def close(self, keep: bool = False) -> None:
        for daemon in self.daemons:
            for pid in daemon.tree():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            daemon.process.wait()
        if hasattr(self, "_engine"):
            self._engine.dispose()
        if hasattr(self, "_server") and not keep:
            self._administer(f"DROP DATABASE {self._name}{' WITH (FORCE)' if self.kind == 'postgresql' else ''}")
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- what happened

    def lines(self, last: int = 0) -> list[dict[str, Any]]:
        """The independent log, or so many lines of its end."""
        if not self.events.exists():
            return []
        return [json.loads(line) for line in self.events.read_text().splitlines()[-last:]]


@contextmanager
def world(kind: str, **options: Any) -> Iterator[World]:
    """A world that is gone afterwards; with CHAOS_KEEP its files and its database stay, for somebody to look at."""
    made = World(kind, **options)
    keep = "CHAOS_KEEP" in os.environ
    try:
        yield made
    finally:
        if keep:
            print(f"      kept: {made.folder} {made.url}", file=sys.stderr)
        made.close(keep)


class Watcher:
    """Looks at the ledger while the scenario plays: terminal states stay, fences and cursors and pointers only grow."""

    def __init__(self, seen_in: World, every_s: float = 0.5) -> None:
        self.world = seen_in
        self.every_s = every_s
        # A word of its own to MariaDB.
        self._rows = "`rows`" if seen_in.kind == "mariadb" else "rows"
        self.violations: list[str] = []
        self.reads = 0
        self._ended: dict[int, str] = {}
        self._grown: dict[tuple[str, Any], int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _watch(self) -> None:
        while not self._stop.wait(self.every_s):
            self._terminal()
            self._growing("cursor", "SELECT name, cursor_us FROM jobs")
            self._growing("fence", "SELECT run_id, fence FROM runs")
            self._growing("version", "SELECT name, version FROM outputs")
            self._whole()

    def _terminal(self) -> None:
        for run_id, state in self.world.query("SELECT run_id, state FROM runs WHERE ended_us IS NOT NULL"):
            if self._ended.setdefault(run_id, state) != state:
                self.violations.append(f"I3: run {run_id} was {self._ended[run_id]} and is {state}")

    def _growing(self, what: str, sql: str) -> None:
        for name, value in self.world.query(sql):
            if value < self._grown.get((what, name), 0):
                self.violations.append(f"{what} of {name} went back from {self._grown[what, name]} to {value}")
            self._grown[what, name] = value

    def _whole(self) -> None:
        """A reader of an output sees as many rows as its version was published with, in one statement."""
        for (name,) in self.world.query("SELECT name FROM outputs WHERE version > 0"):
            told_and_seen = (
                f"SELECT p.version, p.{self._rows}, (SELECT count(*) FROM {name} t WHERE t.since <= o.version"
                " AND t.until > o.version) FROM outputs o JOIN publications p ON p.output = o.name"
                " AND p.version = o.version WHERE o.name = :name"
            )
            rows = self.world.query(told_and_seen, name=name)
            for version, told, seen in rows:
                self.reads += 1
                if told != seen:
                    self.violations.append(f"I9: {name} version {version} has {seen} rows, was published with {told}")


def choose(random_numbers: random.Random, daemons: list[Daemon]) -> Daemon:
    return random_numbers.choice([daemon for daemon in daemons if daemon.alive()] or daemons)
