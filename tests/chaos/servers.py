"""Servers of a scenario's own, that it may kill, freeze and empty: PostgreSQL and Redis."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from world import processes_below, wait_until

#: Below those that the system gives to whoever connects: nobody takes the port of a server that is away for a moment.
PORTS = range(20_000, 32_768)


def free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with closing(socket.socket()) as held, suppress(OSError):
            held.bind(("127.0.0.1", port))
            return port


class Postgres:
    """A cluster with its data on disk and fsync on, as the user postgres when this is root."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        self.bin = found[-1] if found else Path(shutil.which("initdb") or "/nowhere/initdb").parent
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-pg-"))
        self.port = free_port()
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._do("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--pgdata", str(self.data))
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def _do(self, program: str, *words: str) -> None:
        words = (f"{self.bin}/{program}", *words)
        if os.getuid() == 0:
            words = ("runuser", "-u", "postgres", "--", *words)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        log = str(self.folder / "log")
        self._do("pg_ctl", "start", "--wait", "--pgdata", str(self.data), "--log", log, "--options", options)

    def stop_at_once(self) -> None:
        """As a power cut: no checkpoint, clients are thrown out."""
        self._do("pg_ctl", "stop", "--mode", "immediate", "--pgdata", str(self.data))

    def freeze(self, number: int = signal.SIGSTOP) -> None:
        """Every process of the server stops, and keeps its connections: it neither answers nor refuses."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        for pid in [postmaster, *processes_below(postmaster)]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def thaw(self) -> None:
        self.freeze(signal.SIGCONT)

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError, FileNotFoundError):
            self.thaw()
            self.stop_at_once()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisServer:
    """Keeps nothing on disk: after a restart it is empty."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, "Redis", 10)

    def _answers(self) -> bool:
        with closing(socket.socket()) as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def flush(self) -> None:
        from redis import Redis

        with Redis.from_url(self.url) as client:
            client.flushall()

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        time.sleep(0.5)
        self.start()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
