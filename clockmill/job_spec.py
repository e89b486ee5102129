"""What a job is: its declaration, whoever wrote it, and the outputs it promises to publish."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from clockmill.durations import parse_duration
from clockmill.errors import ConfigError, did_you_mean
from clockmill.handler_spec import check_patterns
from clockmill.sizes import format_size, parse_size
from db.output_spec import OutputSpec
from db.run import After

JOB_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

CATCH_UP = ("none", "latest", "earliest", "all")
OVERLAP = ("skip", "queue_one", "queue_all", "cancel_previous", "terminate_previous", "allow")
OVERLAP_ALIASES = {"forbid": "skip", "replace": "cancel_previous"}
ON_LOST = ("rerun", "fail")
#: How the runs of other jobs must have ended: see `_after`.
OUTCOMES = ("success", "failure", "any")
EXECUTORS = ("process", "thread", "command", "celery")

#: Less is not enough for an interpreter, or for what it opens to begin with.
LEAST_MEMORY, LEAST_FILES = 2**24, 16
#: A longer value of a parameter stands in an order key as its hash: databases index 191 characters.
LONGEST_KEY = 100

#: Shared, because there may be very many jobs and most have neither.
NOTHING: Mapping[str, Any] = MappingProxyType({})

KIND_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}

#: Takes a clockmill.context.Context, which is built from specifications and so stands above them.
JobFunction = Callable[[Any], None]
#: Takes a clockmill.shard.Shard, gives arrays by name.
ShardFunction = Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True)
class JobSpec:
    """A job as the scheduler sees it: defaults, overridden by its decorator, overridden by the configuration."""

    name: str
    #: The function of a decorated job; a command job has `command` instead.
    function: JobFunction | None = None
    command: tuple[str, ...] = ()
    #: True only when the configuration asks for a shell: `command` is then one string given to /bin/sh.
    shell: bool = False
    #: What a command reads, the variables it gets beside clockmill's own, and where it starts ("": CLOCKMILL_HOME).
    stdin: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    folder: str = ""
    #: Crontab expressions whose slots are united; empty: the job runs only when asked.
    schedule: tuple[str, ...] = ()
    #: IANA zone of the schedule; "local" is the system's.
    timezone: str = "local"
    start: datetime | None = None
    end: datetime | None = None
    #: Delays each start by a stable part of this, never the slot.
    jitter: timedelta = timedelta(0)
    exclude: tuple[str, ...] = ()
    dst_gap: str = "run"
    dst_overlap: str = "first"
    timeout: timedelta = timedelta(hours=1)
    #: Further attempts after a failed or timed out one; a lost attempt does not count.
    retries: int = 0
    #: Wait before the first retry; doubled for each further one, at most an hour.
    backoff: timedelta = timedelta(seconds=30)
    overlap: str = "skip"
    catch_up: str = "latest"
    #: None: one period of the schedule, at most 24 hours.
    catch_up_window: timedelta | None = None
    #: Higher runs first among those that are due.
    priority: int = 0
    #: A pool of [pools], whose places are shared by all jobs that name it.
    pool: str | None = None
    #: Labels of `[broker] labels`: only workers that offer all of them run it.
    needs: tuple[str, ...] = ()
    #: A parameter: runs with the same value of it never overlap and begin in order. Any other word: a key shared by
    #: all jobs that name it. `overlap` is not asked then: runs wait for each other.
    order_by: str | None = None
    #: Other jobs. With a schedule: a slot's run starts when their runs of the same slot, or of their latest one before
    #: it, have ended so. Without: a run is made whenever all of them (or any) have ended since the last one. Where they
    #: ended otherwise the run is `upstream_failed`, or `skipped` for one that waits for a failure. Runs that a person
    #: asks for (run, retry) do not wait.
    after: After | None = None
    #: Patterns of event types: each event is a run, or joins one that has not begun. A run waits until no event has
    #: come for `debounce`, or `batch` of them are there (and at most ten times as long); they are in `ctx.events`.
    on: tuple[str, ...] = ()
    debounce: timedelta = timedelta(0)
    batch: int = 1
    #: Bytes that an attempt may hold, all its processes together, and files that each of them may have open.
    memory: int | None = None
    open_files: int | None = None
    #: Exit codes of commands, names of exceptions (or of their base classes), "timeout"; empty: everything is retried.
    retry_on: tuple[int | str, ...] = ()
    on_lost: str = "rerun"
    executor: str = "process"
    #: Ended runs are kept so long, and so many of them; their logs so many megabytes, the newest.
    keep_for: timedelta = timedelta(days=90)
    keep_runs: int = 10_000
    keep_log_mb: int = 200
    params: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    #: The values a parameter may have, where only some make sense.
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NOTHING)
    outputs: tuple[OutputSpec, ...] = ()
    #: What works at one shard of a run that divides its work by `ctx.shards`.
    shard: ShardFunction | None = None
    #: Where the job was found: a module, a file or the configuration.
    origin: str = ""

    def __post_init__(self) -> None:
        if not JOB_NAME.fullmatch(self.name):
            raise ConfigError(f'job "{self.name}": a name is {JOB_NAME.pattern}')
        allowed = {"catch_up": CATCH_UP, "overlap": OVERLAP, "on_lost": ON_LOST, "executor": EXECUTORS}
        for key, words in allowed.items():
            if getattr(self, key) not in words:
                raise ConfigError(f'job {self.name}: {key} = "{getattr(self, key)}"; allowed: {", ".join(words)}')
        if self.timeout <= timedelta(0):
            raise ConfigError(f"job {self.name}: timeout must be longer than 0 s")
        if self.keep_runs < 1 or self.keep_log_mb < 0:
            raise ConfigError(f"job {self.name}: keep_runs must be 1 or more, keep_log_mb 0 or more")
        if self.on:
            check_patterns(self.on, f"job {self.name}: on")
        if self.batch < 1 or self.debounce < timedelta(0) or (not self.on and (self.batch > 1 or self.debounce)):
            raise ConfigError(f"job {self.name}: debounce and batch (1 or more) are for jobs that events trigger (on)")
        if self.retries < 0:
            raise ConfigError(f"job {self.name}: retries = {self.retries}; allowed: 0 and up")

        self._check_limits()

    def _check_limits(self) -> None:
        if self.order_by is not None and not JOB_NAME.fullmatch(self.order_by) and self.order_by not in self.params:
            raise ConfigError(
                f'job {self.name}: order_by = "{self.order_by}"; allowed: a parameter or {JOB_NAME.pattern}'
            )
        if self.order_by is not None and self.overlap not in ("skip", "queue_all"):
            raise ConfigError(
                f'job {self.name}: overlap = "{self.overlap}" cannot be had with order_by: runs with one key wait '
                "for each other, and those with different keys run at once"
            )
        if self.executor == "thread" and (self.memory or self.open_files):
            raise ConfigError(f'job {self.name}: memory and open_files need executor = "process"')
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise ConfigError(f"job {self.name}: memory must be {format_size(LEAST_MEMORY)} or more")
        if self.open_files is not None and self.open_files < LEAST_FILES:
            raise ConfigError(f"job {self.name}: open_files = {self.open_files}; allowed: {LEAST_FILES} and up")

    def order_key(self, given: Mapping[str, Any]) -> str | None:
        """The key of a run with these parameters; those of one job have its name in front."""
        if self.order_by is None or self.order_by not in self.params:
            return self.order_by
        value = str({**self.params, **given}[self.order_by])
        return f"{self.name}/{value if len(value) <= LONGEST_KEY else sha256(value.encode()).hexdigest()}"

    def identity(self) -> dict[str, Any]:
        """What the ledger keeps as the job's specification; two processes that agree on it may both materialise."""
        return {
            "schedule": list(self.schedule),
            "timezone": self.timezone,
            "start": self.start and self.start.isoformat(),
            "end": self.end and self.end.isoformat(),
            "jitter": self.jitter.total_seconds(),
            "exclude": list(self.exclude),
            "dst_gap": self.dst_gap,
            "dst_overlap": self.dst_overlap,
            "timeout": self.timeout.total_seconds(),
            "retries": self.retries,
            "backoff": self.backoff.total_seconds(),
            "overlap": self.overlap,
            "catch_up": self.catch_up,
            "catch_up_window": self.catch_up_window and self.catch_up_window.total_seconds(),
            "priority": self.priority,
            "pool": self.pool,
            "order_by": self.order_by,
            "after": self.after and {self.after.needs: list(self.after.jobs), "on": self.after.outcome},
            **({"needs": list(self.needs)} if self.needs else {}),
            **self._triggers(),
            "memory": self.memory,
            "open_files": self.open_files,
            "retry_on": list(self.retry_on),
            "on_lost": self.on_lost,
            "executor": self.executor,
            "command": list(self.command),
            "shell": self.shell,
            "stdin": self.stdin,
            # Passwords stand here: the ledger shows that they changed, not what they are.
            "environment": _hash(self.environment) if self.environment else "",
            "folder": self.folder,
            "params": dict(self.params),
        }

    def _triggers(self) -> dict[str, Any]:
        # Only where there are some: a job without keeps the specification it had before there were any.
        if not self.on:
            return {}
        return {"on": list(self.on), "debounce": self.debounce.total_seconds(), "batch": self.batch}

    @staticmethod
    def from_identity(name: str, identity: Mapping[str, Any]) -> "JobSpec":
        """The policies that the ledger kept, without code: enough to account for the slots that passed under them."""
        kept = {key: identity[key] for key in READERS if identity.get(key) is not None}
        return override(JobSpec(name=name, command=tuple(identity["command"])), kept)

    def with_params(self, given: Mapping[str, Any]) -> "JobSpec":
        """The same job with some parameters changed. Raises ConfigError for one it does not have or allow."""
        for name, value in given.items():
            self._check_param(name, value)
        return replace(self, params={**self.params, **given})

    def _check_param(self, name: str, value: Any) -> None:
        if name not in self.params:
            known = ", ".join(self.params) or "none"
            raise ConfigError(
                f'job {self.name}: no parameter "{name}"{did_you_mean(name, self.params)}; known: {known}'
            )
        kind = type(self.params[name])
        right = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
        if not right and self.params[name] is not None:
            raise ConfigError(
                f"job {self.name}: params.{name} = {value!r}: expected {KIND_NAMES.get(kind, kind.__name__)}"
            )
        allowed = self.choices.get(name)
        if allowed and value not in allowed:
            raise ConfigError(
                f'job {self.name}: params.{name} = "{value}"{did_you_mean(str(value), allowed)}; '
                f"allowed: {', '.join(allowed)}"
            )

    def read_param(self, name: str, text: str) -> Any:
        """A parameter as it was written on a command line, in the type of its default."""
        kind = type(self.params.get(name, ""))
        if kind is bool and text.lower() in ("true", "false", "1", "0", "yes", "no"):
            return text.lower() in ("true", "1", "yes")
        try:
            return kind(text) if kind in (int, float) else text
        except ValueError:
            return text


def _hash(table: Mapping[str, str]) -> str:
    return sha256(json.dumps(dict(table), sort_keys=True).encode()).hexdigest()


def _duration(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value)


def _instant(key: str, value: Any) -> datetime:
    try:
        return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(f'{key} = "{value}" is not an instant; write for instance 2026-03-08T07:00:00Z') from None


def _strings(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _after(value: Any) -> After | None:
    """`"counters"`, `["counters", "news"]` (all of them), or `{ any = [...], on = "failure" }` with `all` or `any`."""
    if value is None or isinstance(value, After):
        return value
    table = dict(value) if isinstance(value, Mapping) else {"all": value}
    outcome = table.pop("on", "success")
    needs, names = next(iter(table.items()), ("", ()))
    jobs = _strings(names)
    right = len(table) == 1 and needs in ("all", "any") and jobs and all(isinstance(name, str) for name in jobs)
    if not right or outcome not in OUTCOMES:
        raise ConfigError(
            f'after = {value!r}: expected names of jobs, or {{ all = [..] }} or {{ any = [..] }} with on = "success", '
            '"failure" or "any"'
        )
    return After(jobs, needs, outcome)


def _causes(value: Any) -> tuple[int | str, ...]:
    causes = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(cause, int | str) and not isinstance(cause, bool) for cause in causes):
        raise ConfigError(f'retry_on = {value!r}: expected exit codes, names of exceptions, or "timeout"')
    return causes


#: Keys that a decorator and a `[jobs.NAME]` table share, with how each value is read.
READERS: dict[str, Callable[[Any], Any]] = {
    "schedule": _strings,
    "timezone": str,
    "start": partial(_instant, "start"),
    "end": partial(_instant, "end"),
    "jitter": _duration,
    "exclude": _strings,
    "dst_gap": str,
    "dst_overlap": str,
    "timeout": _duration,
    "retries": int,
    "backoff": _duration,
    "overlap": lambda word: OVERLAP_ALIASES.get(word, word),
    "catch_up": str,
    "catch_up_window": _duration,
    "priority": int,
    "pool": str,
    "needs": _strings,
    "order_by": str,
    "after": _after,
    "on": _strings,
    "debounce": _duration,
    "batch": int,
    "memory": parse_size,
    "open_files": int,
    "retry_on": _causes,
    "on_lost": str,
    "executor": str,
    "keep_for": _duration,
    "keep_runs": int,
    "keep_log_mb": int,
}


def override(spec: JobSpec, settings: Mapping[str, Any]) -> JobSpec:
    """The job with the given policies; values may be written as in the configuration ("30m")."""
    changes = {key: READERS[key](value) for key, value in settings.items()}
    if changes.get("on") and not spec.on and spec.overlap == "skip":
        # An event must not be lost because the one before it is still at work.
        changes.setdefault("overlap", "queue_all")
    return replace(spec, **changes)


def Output(name: str, **declaration: Any) -> OutputSpec:
    """A named dataset that a job publishes: see `db.output_spec.OutputSpec` for every field."""
    return OutputSpec(name=name, **declaration)


def job(
    *,
    name: str | None = None,
    outputs: Sequence[OutputSpec] = (),
    params: Mapping[str, Any] | None = None,
    choices: Mapping[str, Sequence[str]] | None = None,
    shard: ShardFunction | None = None,
    **policies: Any,
) -> Callable[[JobFunction], JobFunction]:
    """Declares a function to be a job. `policies` are the keys of a `[jobs.NAME]` table, e.g. schedule, timeout.

    The function stays what it was and can be called in a test with any context.
    """
    unknown = sorted(set(policies) - set(READERS))
    if unknown:
        raise ConfigError(
            f"@job: unknown {unknown[0]!r}; allowed: name, outputs, params, choices, shard, {', '.join(READERS)}"
        )

    def declare(function: JobFunction) -> JobFunction:
        spec = JobSpec(
            name=name or function.__name__,
            function=function,
            params=dict(params or {}),
            choices={key: tuple(values) for key, values in (choices or {}).items()},
            outputs=tuple(outputs),
            shard=shard,
            origin=function.__module__,
        )
        function.clockmill_job = override(spec, policies)  # type: ignore[attr-defined]
        return function

    return declare
