"""What a job is given: its parameters, its sources, and the way to publish. All that a built-in job uses is here."""

import hashlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clockmill.durations import parse_duration
from clockmill.errors import JobError, did_you_mean
from clockmill.exchange.cloudevents import Event, new_event, read_event
from clockmill.exchange.outgoing import max_event, outbox_row
from clockmill.report import PHASES
from clockmill.slots import instant, iso, micros
from db import outbox, tallies
from db.bases import Basis, find_basis, last_full, renewed_keys, state_of
from db.columns import Columns, as_column, joined, length
from db.errors import StoreError
from db.output_spec import OutputSpec, resolve
from db.outputs import KEYS_AT_ONCE, ROOM, Build, Published, changed_keys, find, read_rows, versions
from db.run import Claim, idempotency_key
from db.sources import SourceSpec, expand
from db.sources import read as read_source
from db.triggers import events_of
from db.watermarks import Part, furthest, narrowed

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from clockmill.job_spec import JobSpec
    from clockmill.mill import Mill
    from clockmill.shard_files import Files

#: Names and keys of counters are no longer than that.
LONGEST_KEY = 191
#: While a source is read the run's progress says how far that is, this often.
ROWS_BETWEEN_NOTES = 250_000


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
        self._told: list[dict[str, Any]] = []
        self._counted: dict[tuple[str, str], float] = {}
        self._declared = {output.name: output for output in spec.outputs}
        self.job = spec.name
        self.params: Mapping[str, Any] = {**spec.params, **claim.params}
        self.now = now
        self.run_id = claim.run_id
        self.attempt = claim.attempt
        self.fence = claim.fence
        self.slot = instant(claim.slot_us) if claim.slot_us is not None else None
        self.idempotency_key = idempotency_key(claim)
        self._bases: dict[str, tuple[Basis, Mapping[str, Any]]] = {}
        self._why: dict[str, str] = {}
        self._seen: dict[str, int] | None = None
        #: The versions of outputs that were read: all reads of one context are of one version.
        self._looked: dict[str, int] = {}
        self.rows_in = 0
        self.rows_out = 0
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self._claim = claim
        self._files: Files | None = None

    # -- reading

    def read(self, source: str, *columns: str) -> Columns:
        """Columns of a source as arrays of one length: ids int64 or str objects, values float64.

        A row without a key is dropped and counted in the log. Raises SourceError for a mapping that does not fit.
        """
        spec = self._spec_of(source)
        self._see_versions()
        with self.phase("read"):
            engine = self._mill.source_engine(spec.url, f"sources.{source}")
            folder = self._mill.config.var / "snapshots"
            found = read_source(engine, spec, columns, progress=self._counting(source), folder=folder)
        if found.skipped_null:
            self.log(f"{source}: {found.skipped_null} rows without a key were left out")
        self.rows_in += found.rows
        return found

    def _counting(self, source: str) -> Callable[[int], None]:
        """Tells of every so many rows: how many there will be nobody knows."""
        told = 0

        def tell(rows: int) -> None:
            nonlocal told
            if rows - told >= ROWS_BETWEEN_NOTES:
                told = rows
                self.progress(0.0, f"{source}: {rows:,} rows read")

        return tell

    def select(
        self,
        name: str,
        query: str,
        columns: Sequence[str],
        url: str | None = None,
        parts: Mapping[str, Part] | None = None,
    ) -> Columns:
        """Columns of one read-only SELECT, in which {posts} stands for the mapped source; `name` is for messages.

        `parts`: of these sources only some rows, told by the marks that `watermark` gives.
        """
        self._see_versions()
        with self.phase("read"):
            engine = self._mill.source_engine(url, name)
            known = {**self._mill.sources, **{s: narrowed(self._spec_of(s), part) for s, part in (parts or {}).items()}}
            spec = SourceSpec(name, query=expand(query, known, engine), label=f"[{name}]")
            found = read_source(engine, spec, columns)
        self.rows_in += found.rows
        return found

    def watermark(self, source: str, since: str | None = None, url: str | None = None) -> str | None:
        """The mark of an append-only source's last rows; None without rows (from `since` on), or for another source."""
        spec = self._spec_of(source)
        if not spec.append_only:
            return None
        with self.phase("read"):
            return furthest(self._mill.source_engine(url, f"sources.{source}"), spec, since)

    def _spec_of(self, name: str) -> SourceSpec:
        return self._mill.sources.get(name) or SourceSpec(name)

    def current(self, output: str, only: Sequence[Any] | None = None) -> Columns:
        """The present version of an output: all its rows, or those of some keys; no rows before its first version."""
        declared = self._output(output)
        try:
            spec, row = find(self._mill.engine, output)
        except StoreError:
            return {name: as_column([], kind) for name, kind in declared.columns.items()}
        version = self._looked.setdefault(output, row.version)
        if only is None:
            return read_rows(self._mill.engine, spec, version)
        parts = [only[at : at + KEYS_AT_ONCE] for at in range(0, max(len(only), 1), KEYS_AT_ONCE)]
        return joined([read_rows(self._mill.engine, spec, version, keys=some) for some in parts])

    def changed(self, output: str, since: int = 0) -> tuple[int, list[Any] | None]:
        """The version of an output that `current` reads, 0 for none, and the keys whose lists were others in the
        version `since`; None in their place when that is not known."""
        self._output(output)
        try:
            spec, row = find(self._mill.engine, output)
        except StoreError:
            return 0, None
        version = self._looked.setdefault(output, row.version)
        known = 0 < since <= version and since >= row.kept_from
        return version, changed_keys(self._mill.engine, spec, since, version) if known else None

    def params_of(self, job: str) -> Mapping[str, Any]:
        """The parameters of a job, as the configuration sets them. Raises ConfigError for one that is not there."""
        return self._mill.registry.get(job).params

    def basis(self, output: str, recipe: Mapping[str, Any], rebuild: str = "") -> Basis:
        """What the current version was made from, as the run that published it left it by `publish(..., basis=...)`.

        It is false, and `missing` says why, when everything is to be built: there is none, it was made by another
        `recipe`, the version is a rollback, the parameter `full` is set, or the last full build is older than `rebuild`
        ("7d"). `renewed` are the keys whose lists were replaced since; they are to be computed again.
        """
        self._output(output)
        with self.phase("read"):
            found = find_basis(self._mill.engine, output, recipe)
            full = last_full(self._mill.engine, output) if found and rebuild else None
        self._bases[output] = (found, recipe)
        if self.params.get("full"):
            return Basis(missing="full = true")
        if full and self.now - datetime.fromisoformat(full) > parse_duration(rebuild):
            return Basis(missing=f"the last full build was on {full}, over {rebuild} ago")
        return found

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

    # -- dividing

    def shards(
        self, count: int, arrays: Mapping[str, Any], costs: Any, facts: Mapping[str, Any] | None = None
    ) -> list[Mapping[str, Any]]:
        """What the job's `shard` function makes of these arrays, by ranges of rows of about equal `costs` (one whole
        number a row): at most `count` of them, in their order.

        Each range is a run of its own that any worker may take; this process works at them too. `facts`: what JSON
        holds. An attempt that is made again finds what was done, if arrays and facts are the same. Raises JobError.
        """
        import numpy as np

        from clockmill.compute.blocks import equal_ranges
        from clockmill.perform import perform
        from clockmill.shard_files import Files
        from clockmill.sharding import MOST, Division

        if self._spec.shard is None or self._spec.executor == "thread":
            wanted = "@job(shard=...)" if self._spec.shard is None else 'executor = "process" or "celery"'
            raise JobError(f"job {self.job} cannot be divided into shards: that needs {wanted}")
        if not 1 <= count <= MOST:
            raise JobError(f"job {self.job}: {count} shards; allowed: 1 to {MOST}")
        self._files = Files(self._mill, self.run_id)
        division = Division(self._mill, self._spec, self._claim, self._files, partial(perform, self._mill, alone=False))
        return division.work(facts or {}, arrays, equal_ranges(np.asarray(costs, np.int64), count), self.progress)

    # -- publishing

    def publish(
        self,
        output: str,
        rows: Mapping[str, Any],
        only: Sequence[Any] | None = None,
        basis: Mapping[str, Any] | None = None,
        why: str = "",
    ) -> None:
        """Makes these columns the output's next version, visible when the run succeeds, whole or not at all.

        `only`: these keys alone are replaced, every other stays as it is. Rows that did not change are not written.
        `basis`: numpy arrays for the next run, which finds them by `basis()`, as this one must have looked for them.
        `why`: what was built and for which reason, for the log and the run's report.
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
            if basis is not None:
                build.state |= self._left(output, build, basis, whole=only is None)
        self.rows_out += length(columns)
        if why:
            self._why[output] = why
            self.log(f"{output}: {build.build} build: {why}")

    def _left(self, output: str, build: Build, basis: Mapping[str, Any], whole: bool) -> dict[str, Any]:
        """The basis as it is kept. Lists that others replaced while this run was at work are not of its making."""
        if output not in self._bases:
            raise JobError(f"output {output}: a basis is kept for who looks for one; call ctx.basis before")
        found, recipe = self._bases[output]
        renewed = [] if whole else renewed_keys(self._mill.engine, build.spec, found.version, build.base)
        return state_of(recipe, basis, renewed)

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
        build = self._begun(declared, columns, only)
        build.begin()
        self._builds.append(build)
        return build

    def _begun(self, declared: OutputSpec, columns: Columns, only: Sequence[Any] | None) -> Build:
        room = ROOM if declared.name in self._shared() else 0
        seen = (self._seen or {}).get(declared.name)
        return Build(self._mill.engine, resolve(declared, columns), self.run_id, self.fence, room, seen)

    def _shared(self) -> set[str]:
        """Those of the declared outputs that handlers of events publish to as well."""
        if not self._declared or not self._mill.config.table("broker")["url"]:
            return set()
        handlers = self._mill.registry.handlers.values()
        return {output.name for handler in handlers for output in handler.outputs} & set(self._declared)

    def _see_versions(self) -> None:
        """Before the first row of a source is read: what events publish from now on is newer than these rows."""
        if self._seen is None:
            self._seen = versions(self._mill.engine) if self._shared() else {}

    # -- counting

    def counter(self, name: str, add: float = 1, key: Any = "total") -> None:
        """Adds to a counter, if the run succeeds: once, however often it was killed and started again.

        The counters job publishes it with its own. Raises JobError for a name, key or number that cannot be kept.
        """
        for what, word in (("name", str(name)), ("key", str(key))):
            if not 0 < len(word) <= LONGEST_KEY or "\0" in word:
                raise JobError(
                    f"counter: {what} {word[:40]!r}: expected 1 to {LONGEST_KEY} characters, none of them NUL"
                )
        if not math.isfinite(add):
            raise JobError(f"counter {name}: {add} cannot be added; expected a finite number")
        place = (str(name), str(key))
        self._counted[place] = self._counted.get(place, 0) + add

    def counted(self) -> Columns:
        """What jobs and handlers have counted so far, by `counter`: name, key, value."""
        rows = tallies.everything(self._mill.engine)
        kinds = {"name": "text", "key": "text", "value": "float"}
        return {column: as_column([getattr(row, column) for row in rows], kind) for column, kind in kinds.items()}

    # -- events

    @property
    def events(self) -> list[Event]:
        """The events that triggered the run, in the order they came; none for a run of another kind."""
        return [read_event(body, max(len(body), 1)) for body in events_of(self._mill.engine, self.run_id)]

    def emit(self, type: str, data: Mapping[str, Any], key: Any = None, keep: bool = True) -> None:
        """Tells that something happened, if the run succeeds: the event is committed with the run's own effects.

        Events with the same `key` are told one after the other. What nobody has bound a queue for stays in the outbox
        until somebody does; with `keep` false it passes unheard. Raises JobError for what is no event.
        """
        if not keep and not self._mill.config.table("broker")["url"]:
            return
        event = new_event(type, data, self._source, self._mill.now(), key, max_event(self._mill.config))
        self._told.append({**outbox_row(event), "kept": int(keep), "run_id": self.run_id, "fence": self.fence})

    @property
    def _source(self) -> str:
        return f"/clockmill/{self._mill.config.namespace}/{self.job}"

    def _announce(self, published: Sequence[Published], at: datetime) -> Iterator[dict[str, Any]]:
        """That outputs have new versions; nobody has to listen."""
        if self._mill.config.table("broker")["url"]:
            for one in published:
                data = {"output": one.output, "version": one.version, "rows": one.rows, "changed": one.changed}
                event = new_event(f"clockmill.output.published.{one.output}", data, self._source, at, one.output)
                yield {**outbox_row(event), "kept": 0, "run_id": self.run_id, "fence": self.fence}

    # -- the end, for whoever runs the job

    def seal(self) -> None:
        """Keeps what spares the next version work; before `commit`, outside its transaction."""
        for build in self._builds:
            build.seal()

    def commit(self, connection: "Connection", built_at: datetime) -> list[Published]:
        """Moves the pointers of everything published, tells the events and counts, in the run's last transaction."""
        published = [build.publish(connection, iso(built_at), self._digest()) for build in self._builds]
        outbox.put(connection, [*self._told, *self._announce(published, built_at)], micros(built_at))
        tallies.add(connection, self._counted, micros(built_at))
        return published

    def forget(self) -> None:
        """What served this attempt alone is thrown away, its run having succeeded."""
        if self._files:
            self._files.forget()

    @property
    def commits(self) -> bool:
        """Whether something must stand or fall with the run."""
        return bool(self._builds or self._told or self._counted)

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
            "builds": {build.spec.name: self._outcome(build) for build in self._builds},
        }

    def _outcome(self, build: Build) -> dict[str, Any]:
        told = {"build": build.build, "version": build.version, "changed": build.inserted + build.closed}
        return {**told, "why": self._why.get(build.spec.name, "")}

    def _digest(self) -> str:
        """Tells versions of an output apart that were computed under different settings."""
        text = json.dumps({"job": self.job, "params": dict(self.params)}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def peak_rss_mb() -> float:
    """The most memory this process ever held."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10
