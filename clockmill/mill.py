"""One process's hold on everything: configuration, jobs, database, ledger, Redis. Each is opened when first needed."""

import hashlib
import json
import socket
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, make_url

from clockmill import config as configuration
from clockmill.config import Config
from clockmill.errors import ScheduleError
from clockmill.job_spec import JobSpec
from clockmill.local_zone import local_timezone
from clockmill.registry import Registry, command_of, discover
from db import migrate
from db.engine import open_engine, open_source
from db.errors import RedisUnavailable
from db.ledger import Ledger

if TYPE_CHECKING:
    from clockmill.schedule import Schedule
    from db.mirror import Mirror
    from db.sources import SourceSpec


class Mill:
    """Everything that belongs to one CLOCKMILL_HOME."""

    def __init__(self, config: Config) -> None:
        self.config = config
        #: Names this process in leases: host names and pids are used again, this is not.
        self.owner = str(uuid.uuid4())
        self.host = socket.gethostname()
        self._digests: dict[str, tuple[JobSpec, str]] = {}
        #: What handlers of events keep for their next call, by name.
        self.memories: dict[str, dict[str, Any]] = {}

    @staticmethod
    def open(config_file: str | None = None) -> "Mill":
        return Mill(configuration.load(config_file))

    def renewed(self, config: Config) -> "Mill":
        """The mill of a newer configuration, as the same process: with this one's name and open connections."""
        fresh = Mill(config)
        kept = {name: value for name, value in vars(self).items() if name in ("engine", "ledger", "mirror")}
        vars(fresh).update(kept, owner=self.owner, host=self.host)
        return fresh

    @staticmethod
    def now() -> datetime:
        """The one place that asks the clock; everything below takes the time as an argument."""
        return datetime.now(UTC)

    @cached_property
    def registry(self) -> Registry:
        """The jobs; one whose schedule cannot be read is broken, and leaves the others as they are."""
        found = discover(self.config)
        jobs, broken = dict(found.jobs), dict(found.broken)
        for name, spec in found.jobs.items():
            try:
                self.schedule(spec)
            except ScheduleError as e:
                broken[name] = str(e)
                del jobs[name]
        return Registry(jobs, broken, found.handlers)

    def job(self, name: str) -> JobSpec:
        """The job; nobody's code is loaded for a command that the configuration declares alone."""
        return command_of(name, self.config) or self.registry.get(name)

    @cached_property
    def engine(self) -> Engine:
        """The database, with this version's tables: SQLite is upgraded by itself, a server by its operator."""
        engine = open_engine(self.config.database_url)
        if engine.dialect.name != "sqlite":
            migrate.check(engine)
        elif migrate.upgrade(engine):
            print(f"notice: upgraded the tables in {engine.url.database} to revision {migrate.HEAD}", file=sys.stderr)
        return engine

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.engine, self.owner, self.host)

    @cached_property
    def mirror(self) -> "Mirror | None":
        """Redis as the place where outputs are mirrored; None when it is not configured. Raises RedisUnavailable."""
        from db.mirror import Mirror
        from db.publish import make_up
        from db.redis_server import connect

        url = self.config.table("redis")["url"]
        client = connect(url, self.config.var)
        mirror = Mirror(client, self.config.namespace) if client is not None else None
        if mirror is not None and url == "embedded":
            # It keeps nothing on disk: whoever finds it empty fills it.
            make_up(self.engine, mirror)
        return mirror

    def mirror_or_reason(self) -> "tuple[Mirror | None, str]":
        """The same, with the reason where there is none."""
        try:
            return self.mirror, "" if self.mirror else '[redis] url = "none"'
        except RedisUnavailable as e:
            return None, str(e)

    def redis_place(self) -> str:
        """Where a person finds the mirror: a URL for `redis-cli -u`, without its password."""
        from db.redis_server import masked, open_embedded

        url = self.config.table("redis")["url"]
        return open_embedded(self.config.var) if url == "embedded" else masked(url)

    @cached_property
    def sources(self) -> "Mapping[str, SourceSpec]":
        """The mapped sources; others read clockmill's own canonical tables."""
        return {name: source_spec(name, table, self.config) for name, table in self.config.table("sources").items()}

    def source_engine(self, url: str | None, key: str) -> Engine:
        """The database that a source or counter is read from; `key` is its table in the configuration."""
        if not url:
            return self.engine
        return open_source(configuration.absolute_sqlite(url, self.config.home), f"[{key}] url")

    def schedule(self, spec: JobSpec) -> "Schedule | None":
        """The job's schedule, None for one that runs only when asked. Raises ScheduleError naming the job."""
        if not spec.schedule:
            return None
        from clockmill.schedule import parse

        try:
            return parse(
                spec.schedule,
                name=spec.name,
                timezone=zone_of(spec),
                start=spec.start,
                end=spec.end,
                jitter=spec.jitter,
                exclude=spec.exclude,
                dst_gap=spec.dst_gap,
                dst_overlap=spec.dst_overlap,
            )
        except ScheduleError as e:
            raise ScheduleError(f"{self.place(spec, str(e))}: {e}") from None

    def place(self, spec: JobSpec, error: str) -> str:
        """Where the job's schedule can be mended, for a message about it."""
        of_all = error.startswith("time zone") and spec.timezone == self.config.table("scheduler")["timezone"]
        if spec.name not in self.config.table("jobs") and not of_all:
            return f"{spec.origin}: job {spec.name}"
        from clockmill.schedule_check import place_of

        return place_of(self.config, spec.name, error)

    def digest(self, spec: JobSpec) -> str:
        """The hash of the job's specification; kept, because every run that is asked for is asked for with it."""
        known = self._digests.get(spec.name)
        if known is None or known[0] is not spec:
            known = self._digests[spec.name] = (spec, specification(spec)[1])
        return known[1]

    def database_folder(self) -> list[Path]:
        """Where a database in a file lives; empty for a server."""
        url = make_url(self.config.database_url)
        return [Path(url.database).parent] if url.get_backend_name() == "sqlite" and url.database else []

    @property
    def logs(self) -> Path:
        """The folder of the attempts' logs."""
        return self.config.var / "logs"

    @property
    def shard_folder(self) -> Path:
        """Where the files of all runs' shards lie: by namespace, since runs of several databases have one number."""
        asked = self.config.table("scheduler")["shard_folder"]
        folder = self.config.home / Path(asked).expanduser() if asked else self.config.var / "shards"
        return folder / self.config.namespace

    def log_path(self, name: str) -> Path:
        return self.logs / name


def zone_of(spec: JobSpec) -> str:
    return local_timezone() if spec.timezone == "local" else spec.timezone


def source_spec(name: str, table: Mapping[str, Any], config: Config) -> "SourceSpec":
    from db.sources import SourceSpec

    return SourceSpec(
        name=name,
        table=table.get("table"),
        query=table.get("query"),
        columns=table.get("columns", {}),
        where=table.get("where"),
        increment=table.get("increment"),
        append_only=table.get("append_only", False),
        url=table.get("url"),
    )


def specification(spec: JobSpec) -> tuple[str, str]:
    """The job's specification as the ledger keeps it, and its hash; "local" stands for this host's zone."""
    text = json.dumps({**spec.identity(), "timezone": zone_of(spec)}, sort_keys=True)
    return text, hashlib.sha256(text.encode()).hexdigest()
