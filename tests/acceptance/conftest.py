"""The installed command as a user meets it: a wheel of this checkout in an environment of its own, run from elsewhere.

What clockmill depends on comes from the environment of the tests; clockmill itself must not, nor from the checkout.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

CHECKOUT = Path(__file__).parents[2]
NO_SOURCE = shutil.ignore_patterns(".*", "build", "bench", "tests", "var", "*.egg-info", "__pycache__")
#: Longer than any single command here takes on a busy machine.
PATIENCE_S = 60.0


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `clockmill` and `python` of the fresh installation."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(CHECKOUT, folder / "source", ignore=NO_SOURCE)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _carry_out(*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source")
    _carry_out(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    _carry_out(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    site = Path(_carry_out(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    others = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(others)), encoding="utf-8")
    return python.parent


def _carry_out(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on the one line of standard output."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class Started:
    """A command that was started; what it prints is kept in files, so that it never waits for a reader."""

    def __init__(self, words: Sequence[object], folder: Path, environment: Mapping[str, str]) -> None:
        kept = Path(tempfile.mkdtemp(dir=folder))
        self.out, self.err = kept / "out", kept / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            # A session of its own, as cron gives it: a signal to its group reaches nobody else.
            self.process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )

    def send(self, number: int, group: bool = False) -> None:
        """A signal to the process, or, as a terminal sends Ctrl-C, to all of its group."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self, code: int | Sequence[int] = 0, timeout: float = PATIENCE_S) -> Answer:
        """Waits for the end; the exit code must be (one of) `code`, and there is never a traceback."""
        self.process.wait(timeout)
        answer = Answer(self.process.returncode, self.out.read_text(), self.err.read_text())
        codes = [code] if isinstance(code, int) else code
        assert answer.code in codes, f"exit code {answer.code}\n{answer.out}\n{answer.err}"
        assert "Traceback" not in answer.out + answer.err, answer.out + answer.err
        return answer


class Home:
    """One CLOCKMILL_HOME and the commands run in it, in an environment as bare as cron's."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self.binaries = binaries
        self.command = binaries / "clockmill"
        self.database = folder / "var" / "clockmill.db"
        self.elsewhere = folder.parent / "elsewhere"
        #: A number that no other process has on its command line: `sleep {mark}` can be told from every other.
        self.mark = str(40_000_000 + uuid.uuid4().int % 10_000_000)
        self.started: list[Started] = []
        for made in (folder, self.elsewhere):
            made.mkdir()

    # -- files

    def configure(self, text: str, redis: str = "none") -> None:
        """Writes clockmill.toml."""
        self.write("clockmill.toml", f'[redis]\nurl = "{redis}"\n{text}')

    def write(self, name: str, text: str) -> Path:
        """A file in the home."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    # -- commands

    def __call__(self, *words: object, code: int | Sequence[int] = 0, **environment: str) -> Answer:
        """Runs `clockmill WORDS` to its end."""
        return self.start(*words, **environment).end(code)

    def start(self, *words: object, **environment: str) -> Started:
        """Starts `clockmill WORDS` and does not wait."""
        return self.execute(self.command, *words, **environment)

    def execute(self, *words: object, **environment: str) -> Started:
        """Starts any program, with nothing in its environment but what cron would give it, and CLOCKMILL_HOME."""
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(self.elsewhere), "CLOCKMILL_HOME": str(self.folder)}
        self.started.append(Started(words, self.elsewhere, bare | environment))
        return self.started[-1]

    def daemon(self, *options: object, **environment: str) -> Started:
        """A scheduler that has begun to keep time."""
        daemon = self.start("scheduler", *options, **environment)
        self.wait_until(lambda: " scheduling " in daemon.err.read_text() or daemon.process.poll() is not None)
        assert daemon.process.poll() is None, daemon.err.read_text()
        return daemon

    def close(self) -> None:
        for one in self.started:
            with suppress(ProcessLookupError):
                one.send(signal.SIGKILL, group=True)
            one.process.wait()

    # -- looking

    def query(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """What the home's own database says, as an application would read it."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=15)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, values).fetchall()

    def runs(self, job: str) -> list[sqlite3.Row]:
        """The job's runs, the latest first."""
        if not self.database.exists() or not self.query("SELECT 1 FROM sqlite_master WHERE name = 'runs'"):
            return []
        return self.query("SELECT * FROM runs WHERE job = ? ORDER BY run_id DESC", job)

    def wait_for_run(self, job: str, state: str) -> sqlite3.Row:
        """The job's latest run in this state, as soon as there is one."""
        return self.wait_until(lambda: next((run for run in self.runs(job) if run["state"] == state), None))

    @staticmethod
    def wait_until(condition: Callable[[], T | None], timeout: float = PATIENCE_S) -> T:
        """What the condition gives as soon as it is true."""
        until = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < until, f"not within {timeout:.0f} s"
            time.sleep(0.05)
        return found

    def alive(self) -> list[int]:
        """The living processes with `mark` on their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


@pytest.fixture
def clockmill(tmp_path: Path, binaries: Path) -> Iterator[Home]:
    """`clockmill("run", "counters")` in a home of its own, with no Redis unless one is configured."""
    home = Home(tmp_path / "home", binaries)
    home.configure("")
    yield home
    home.close()
