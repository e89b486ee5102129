"""The systems of bench/dispatch.py: how each is set up, its worker, and how a job is sent to it.

python bench/dispatch_peers.py SYSTEM COUNT APART_S     sends so many jobs, so far apart
"""

import os
import sqlite3
import struct
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

REDIS = "redis://127.0.0.1:6379/9"
POSTGRES = "postgres@127.0.0.1/test"
#: Threads of a worker that has threads.
WORKERS = 16


def nothing(sent: float) -> None:
    """The job: leaves a mark."""
    marks = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND)
    os.write(marks, struct.pack("dd", sent, time.time()))
    os.close(marks)


class System:
    """`worker`: its command line. `sender`: a function that sends one job, made in the producer's process."""

    name = ""

    def environment(self, folder: Path) -> dict[str, str]:
        return {}

    def prepare(self, folder: Path, environment: dict[str, str]) -> None: ...

    def worker(self, folder: Path) -> list[str]:
        return [sys.executable, __file__, self.name, "work"]

    def work(self) -> None:
        raise NotImplementedError

    def sender(self) -> Callable[[float], object]:
        raise NotImplementedError

    def finish(self) -> None:
        """Called in the producer's process when it has sent everything."""

    def all_recorded(self, folder: Path, count: int) -> bool:
        return True

    def clean(self) -> None: ...


class Clockmill(System):
    def __init__(self, executor: str, kind: str) -> None:
        self.executor = executor
        self.kind = kind
        self.name = f"clockmill-{executor}-{kind}"
        self.database = f"dispatch_{uuid.uuid4().hex[:8]}"

    def environment(self, folder: Path) -> dict[str, str]:
        return {"CLOCKMILL_HOME": str(folder)}

    def url(self, folder: Path) -> str:
        server = f"postgresql+psycopg://{POSTGRES.rpartition('/')[0]}/{self.database}"
        return f"sqlite:///{folder}/ledger.db" if self.kind == "sqlite" else server

    def prepare(self, folder: Path, environment: dict[str, str]) -> None:
        import subprocess

        if self.kind == "postgresql":
            _administer(f"CREATE DATABASE {self.database}")
        (folder / "jobs").mkdir()
        job = (
            f'@job(name="nothing", executor="{self.executor}", overlap="allow", params={{"sent": 0.0}})\n'
            "def nothing(ctx: Context) -> None:\n    dispatch_peers.nothing(ctx.params['sent'])\n"
        )
        if self.executor != "command":
            (folder / "jobs" / "nothing.py").write_text(
                f"import dispatch_peers\nfrom clockmill import Context, job\n\n{job}"
            )
        command = ""
        if self.executor == "command":
            script = folder / "mark"
            script.write_text("#!/bin/sh\nprintf '" + r"\0" * 16 + '\' >> "$MARKS"\n')
            script.chmod(0o755)
            command = f'[jobs.nothing]\ncommand = ["{script}"]\noverlap = "allow"\n'
        (folder / "clockmill.toml").write_text(
            f'[database]\nurl = "{self.url(folder)}"\n[redis]\nurl = "none"\n'
            f'[scheduler]\nworkers = {WORKERS}\njob_folders = ["jobs"]\n{command}'
            + "".join(f"[jobs.{name}]\nenabled = false\n" for name in BUILT_IN)
        )
        subprocess.run([*CLOCKMILL, "db", "upgrade"], env=environment, check=True, capture_output=True)

    def worker(self, folder: Path) -> list[str]:
        return [*CLOCKMILL, "scheduler"]

    def sender(self) -> Callable[[float], object]:
        from clockmill import client

        return (
            (lambda _: client.send("nothing"))
            if self.executor == "command"
            else lambda t: client.send("nothing", sent=t)
        )

    def all_recorded(self, folder: Path, count: int) -> bool:
        query = "SELECT count(*) FROM runs WHERE state = 'succeeded'"
        if self.kind == "sqlite":
            with sqlite3.connect(folder / "ledger.db") as connection:
                return connection.execute(query).fetchone()[0] >= count
        import psycopg

        with psycopg.connect(f"postgresql://postgres@127.0.0.1/{self.database}") as connection:
            return connection.execute(query).fetchone()[0] >= count

    def clean(self) -> None:
        if self.kind == "postgresql":
            _administer(f"DROP DATABASE {self.database} WITH (FORCE)")


class Huey(System):
    name = "huey-sqlite"

    def app(self):
        from huey import SqliteHuey

        huey = SqliteHuey(filename="huey.db", fsync=True, store_none=True)
        return huey, huey.task()(nothing)

    def work(self) -> None:
        huey, _ = self.app()
        consumer = huey.create_consumer(workers=WORKERS, periodic=False, initial_delay=0.005, max_delay=0.01)
        consumer.run()

    def sender(self) -> Callable[[float], object]:
        return self.app()[1]


class Rq(System):
    name = "rq-fork"

    def work(self) -> None:
        from redis import Redis
        from rq import Queue, Worker

        connection = Redis.from_url(REDIS)
        Worker([Queue("dispatch", connection=connection)], connection=connection).work(logging_level="WARNING")

    def sender(self) -> Callable[[float], object]:
        from redis import Redis
        from rq import Queue

        queue = Queue("dispatch", connection=Redis.from_url(REDIS))
        return lambda sent: queue.enqueue("dispatch_peers.nothing", sent)

    def clean(self) -> None:
        from redis import Redis

        Redis.from_url(REDIS).flushdb()


class Procrastinate(System):
    name = "procrastinate"
    database = f"procrastinate_{uuid.uuid4().hex[:8]}"

    def environment(self, folder: Path) -> dict[str, str]:
        return {"DISPATCH_DATABASE": self.database}

    @staticmethod
    def app(sync: bool):
        import procrastinate

        kind = procrastinate.SyncPsycopgConnector if sync else procrastinate.PsycopgConnector
        app = procrastinate.App(
            connector=kind(conninfo=f"postgresql://postgres@127.0.0.1/{os.environ['DISPATCH_DATABASE']}")
        )
        return app, app.task(name="nothing")(nothing)

    def prepare(self, folder: Path, environment: dict[str, str]) -> None:
        _administer(f"CREATE DATABASE {self.database}")
        os.environ["DISPATCH_DATABASE"] = self.database
        app, _ = self.app(sync=True)
        with app.open():
            app.schema_manager.apply_schema()

    def work(self) -> None:
        import asyncio

        async def run() -> None:
            app, _ = self.app(sync=False)
            async with app.open_async():
                await app.run_worker_async(concurrency=WORKERS)

        asyncio.run(run())

    def sender(self) -> Callable[[float], object]:
        app, task = self.app(sync=True)
        app.open()
        return lambda sent: task.defer(sent=sent)

    def clean(self) -> None:
        _administer(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")


class ApScheduler(System):
    """Its scheduler is in the process that sends: nothing else can add jobs while it runs."""

    name = "apscheduler-sqlite"

    def worker(self, folder: Path) -> list[str]:
        return [sys.executable, "-c", "import time; time.sleep(3600)"]

    def sender(self) -> Callable[[float], object]:
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
        from apscheduler.schedulers.background import BackgroundScheduler
        from sqlalchemy import create_engine, event

        engine = create_engine("sqlite:///apscheduler.db")

        @event.listens_for(engine, "connect")
        def configure(connection, record) -> None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

        self.scheduler = BackgroundScheduler(
            jobstores={"default": SQLAlchemyJobStore(engine=engine)},
            executors={"default": ThreadPoolExecutor(WORKERS)},
            job_defaults={"misfire_grace_time": None},
            timezone="UTC",
        )
        self.scheduler.start()
        return lambda sent: self.scheduler.add_job("dispatch_peers:nothing", args=[sent])

    def finish(self) -> None:
        while self.scheduler.get_jobs():
            time.sleep(0.005)
        self.scheduler.shutdown()


def _administer(statement: str) -> None:
    import psycopg

    with psycopg.connect(f"postgresql://{POSTGRES}", autocommit=True) as connection:
        connection.execute(statement)


CLOCKMILL = [sys.executable, "-c", "from clockmill.cli import main; main()"]
BUILT_IN = ("counters", "news", "recommendations", "similarity", "weather")
PEERS: dict[str, System] = {
    system.name: system
    for system in (
        Clockmill("thread", "sqlite"),
        Clockmill("process", "sqlite"),
        Clockmill("command", "sqlite"),
        Clockmill("thread", "postgresql"),
        Huey(),
        ApScheduler(),
        Rq(),
        Procrastinate(),
    )
}


def main() -> None:
    system = PEERS[sys.argv[1]]
    if sys.argv[2] == "work":
        system.work()
        return
    send = system.sender()
    for _ in range(int(sys.argv[2])):
        send(time.time())
        time.sleep(float(sys.argv[3]))
    system.finish()


if __name__ == "__main__":
    main()
