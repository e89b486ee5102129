"""What a job is given: its parameters, its sources, and the way to publish. All that a built-in job uses is here."""

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clockmill.errors import JobError, did_you_mean
from clockmill.slots import instant, iso
from db.columns import Columns, as_column, length
from db.errors import StoreError
from db.output_spec import OutputSpec, resolve
from db.outputs import Build, Published, find, read_rows
from db.run import Claim
from db.sources import SourceSpec, expand
from db.sources import read as read_source

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from clockmill.job_spec import JobSpec
    from clockmill.mill import Mill

PHASES = ("read", "compile", "compute", "write", "publish")


class Context:
    """One attempt of one run, as the job's function sees it.

    params: the job's parameters. now: when the attempt started. slot: the scheduled instant, None for a manual run.
    idempotency_key: the same for every attempt of the run; hand it to whatever is called outside.
    """

    def __init__(
        self, mill: "Mill", spec: "JobSpec", claim: Claim, now: datetime, tell: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._mill = mill
        self._spec = spec
        self._tell = tell
        self._builds: list[Build] = []
        self._declared = {output.name: output for output in spec.outputs}
        self.job = spec.name
        self.params: Mapping[str, Any] = {**spec.params, **claim.params}
        self.now = now
        self.run_id = claim.run_id
        self.attempt = claim.attempt
        self.fence = claim.fence
        self.slot = instant(claim.slot_us) if claim.slot_us is not None else None
        self.idempotency_key = idempotency_key(claim)
        self.rows_in = 0
        self.rows_out = 0
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)

    # -- reading

    def read(self, source: str, *columns: str) -> Columns:
        """Columns of a source as arrays of one length: ids int64 or str objects, values float64.

        A row without a key is dropped and counted in the log. Raises SourceError for a mapping that does not fit.
        """
        spec = self._mill.sources.get(source) or SourceSpec(source)
        with self.phase("read"):
            found = read_source(self._mill.source_engine(spec.url, f"sources.{source}"), spec, columns)
        if found.skipped_null:
            self.log(f"{source}: {found.skipped_null} rows without a key were left out")
        self.rows_in += found.rows
        return found

    def select(self, name: str, query: str, columns: Sequence[str], url: str | None = None) -> Columns:
        """Columns of one read-only SELECT, in which {posts} stands for the mapped source; `name` is for messages."""
        with self.phase("read"):
            engine = self._mill.source_engine(url, name)
            spec = SourceSpec(name, query=expand(query, self._mill.sources, engine), label=f"[{name}]")
            found = read_source(engine, spec, columns)
        self.rows_in += found.rows
        return found

    def current(self, output: str, only: Sequence[Any] | None = None) -> Columns:
        """The present version of an output: all its rows, or those of some keys; no rows before its first version."""
        declared = self._output(output)
        try:
            spec, row = find(self._mill.engine, output)
        except StoreError:
            return {name: as_column([], kind) for name, kind in declared.columns.items()}
        return read_rows(self._mill.engine, spec, row.version, keys=only)

    def settings(self, table: str) -> Mapping[str, Any]:
        """A table of the configuration, its defaults filled in."""
        return self._mill.config.table(table)

    @property
    def as_of(self) -> str:
        """`now` as output columns of kind time hold it."""
        return iso(self.now.replace(microsecond=0))

    @property
    def cache_dir(self) -> Path:
        """A folder for what can be fetched or computed again."""
        return self._mill.config.var / "cache"

    # -- telling

    def log(self, text: str) -> None:
        """One line in the attempt's log."""
        print(text, flush=True)

    def progress(self, share: float, note: str = "") -> None:
        """How far the attempt is, 0..1, with a few words."""
        self._tell({"progress": min(max(float(share), 0.0), 1.0), "note": note})

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the block's seconds as read, compile, compute, write or publish."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    # -- publishing

    def publish(self, output: str, rows: Mapping[str, Any], only: Sequence[Any] | None = None) -> None:
        """Makes these columns the output's next version, visible when the run succeeds, whole or not at all.

        `only`: these keys alone are replaced, every other stays as it is. Rows that did not change are not written.
        """
        declared = self._output(output)
        if missing := sorted(set(declared.columns) - set(rows)):
            raise JobError(
                f"output {output}: column {missing[0]} is missing; it declares {', '.join(declared.columns)}"
            )
        with self.phase("write"):
            columns = self._typed(declared, rows)
            build = self._build(declared, columns, only)
            try:
                build.write(columns, only)
            except ValueError as e:
                raise JobError(f"output {output}: {e}") from None
        self.rows_out += length(columns)

    def _output(self, name: str) -> OutputSpec:
        if name not in self._declared:
            raise JobError(
                f'job {self.job} declares no output "{name}"{did_you_mean(name, self._declared)}; '
                f"declared: {', '.join(self._declared) or 'none'}; add it to @job(outputs=[...])"
            )
        return self._declared[name]

    def _typed(self, declared: OutputSpec, rows: Mapping[str, Any]) -> Columns:
        columns: Columns = {}
        for name, values in rows.items():
            try:
                columns[name] = as_column(values, declared.columns.get(name, "text"))
            except (ValueError, TypeError) as e:
                raise JobError(f"output {declared.name}: column {name}: {e}") from None
        return columns

    def _build(self, declared: OutputSpec, columns: Columns, only: Sequence[Any] | None) -> Build:
        for build in self._builds:
            if build.spec.name == declared.name:
                if only is None:
                    raise JobError(f"output {declared.name} was published before in this run; publish it once")
                return build
        build = Build(self._mill.engine, resolve(declared, columns), self.run_id, self.fence)
        build.begin()
        self._builds.append(build)
        return build

    # -- the end, for whoever runs the job

    def commit(self, connection: "Connection", built_at: datetime) -> list[Published]:
        """Moves the pointers of everything published, in the run's last transaction."""
        return [build.publish(connection, iso(built_at), self._digest()) for build in self._builds]

    @property
    def published(self) -> Mapping[str, Build]:
        return {build.spec.name: build for build in self._builds}

    def report(self, total: float) -> dict[str, Any]:
        """Counts and times, as `run --json` prints them."""
        self.seconds["total"] = total
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "seconds": {name: round(spent, 6) for name, spent in self.seconds.items()},
            "peak_rss_mb": round(peak_rss_mb(), 1),
            "version": max((build.version for build in self._builds), default=None),
        }

    def _digest(self) -> str:
        """Tells versions of an output apart that were computed under different settings."""
        text = json.dumps({"job": self.job, "params": dict(self.params)}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def idempotency_key(claim: Claim) -> str:
    """The same for every attempt of a run, different for every run of every job."""
    return f"{claim.job}/{claim.slot_key}"


def peak_rss_mb() -> float:
    """The most memory this process ever held."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10
