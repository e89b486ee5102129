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

from sqlalchemy import Engine

from clockmill import config as configuration
from clockmill.config import Config
from clockmill.errors import ScheduleError
from clockmill.job_spec import JobSpec
from clockmill.registry import Registry, discover
from clockmill.schedule import Schedule, local_timezone, parse
from db import migrate
from db.engine import open_engine, open_source
from db.errors import RedisUnavailable
from db.ledger import Ledger
from db.sources import SourceSpec

if TYPE_CHECKING:
    from db.mirror import Mirror


class Mill:
    """Everything that belongs to one CLOCKMILL_HOME."""

    def __init__(self, config: Config) -> None:
        self.config = config
        #: Names this process in leases: host names and pids are used again, this is not.
        self.owner = str(uuid.uuid4())
        self.host = socket.gethostname()

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
        return discover(self.config)

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
    def sources(self) -> Mapping[str, SourceSpec]:
        """The mapped sources; others read clockmill's own canonical tables."""
        return {name: source_spec(name, table, self.config) for name, table in self.config.table("sources").items()}

    def source_engine(self, url: str | None, key: str) -> Engine:
        """The database that a source or counter is read from; `key` is its table in the configuration."""
        if not url:
            return self.engine
        return open_source(configuration.absolute_sqlite(url, self.config.home), f"[{key}] url")

    def schedule(self, spec: JobSpec) -> Schedule | None:
        """The job's schedule, None for one that runs only when asked. Raises ScheduleError naming the job."""
        if not spec.schedule:
            return None
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
            raise ScheduleError(f"{self.place(spec)}: {e}") from None

    def place(self, spec: JobSpec) -> str:
        """Where a job's policies can be mended, for messages."""
        if spec.name in self.config.table("jobs"):
            return f"{self.config.file or 'environment'}: [jobs.{spec.name}]"
        return f"{spec.origin}: job {spec.name}"

    def log_path(self, name: str) -> Path:
        return self.config.var / "logs" / name


def zone_of(spec: JobSpec) -> str:
    return local_timezone() if spec.timezone == "local" else spec.timezone


def source_spec(name: str, table: Mapping[str, Any], config: Config) -> SourceSpec:
    return SourceSpec(
        name=name,
        table=table.get("table"),
        query=table.get("query"),
        columns=table.get("columns", {}),
        where=table.get("where"),
        increment=table.get("increment"),
        url=table.get("url"),
    )


def specification(spec: JobSpec) -> tuple[str, str]:
    """The job's specification as the ledger keeps it, and its hash; "local" stands for this host's zone."""
    text = json.dumps({**spec.identity(), "timezone": zone_of(spec)}, sort_keys=True)
    return text, hashlib.sha256(text.encode()).hexdigest()
