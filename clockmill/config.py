"""The configuration: defaults, then clockmill.toml, then CLOCKMILL_* variables; each value knows its origin."""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from clockmill.durations import parse_duration
from clockmill.errors import ConfigError, did_you_mean
from clockmill.fetch.settings import TABLES as FETCH_TABLES
from clockmill.sizes import parse_size

#: A length of time, written "30m"; an amount of memory, written "512M".
Duration, Size = "a length of time", "an amount of memory"
#: How values of these kinds are checked.
PARSERS: Mapping[Any, Callable[[Any], object]] = {Duration: parse_duration, Size: parse_size}

#: key -> (type, default, what it is). A table whose keys the user names has one key, "*".
Table = Mapping[str, tuple[Any, Any, str]]
TABLES: dict[str, Table] = {
    "database": {
        "url": (str, "sqlite:///var/clockmill.db", "sqlite:///FILE, postgresql+psycopg://..., mysql+pymysql://..."),
    },
    "redis": {
        "url": (str, "embedded", "embedded, redis://..., rediss://..., unix://..., or none: SQL only"),
    },
    "broker": {
        "url": (str, "", "amqp://..., amqps://..., a cluster's nodes with ; between; scheduler and up relay, consume"),
        "max_event": (Size, "4M", "a larger event is refused when sent, and set aside when received"),
        "handlers": (int, 4, "handlers of events at work at once in one process"),
        "labels": (list, [], "what workers may offer and runs may need, for instance gpu"),
        "consumer_timeout": (Duration, "30m", "the broker's own setting: how long a message may go unanswered"),
        "alert_after": (Duration, "1m", "an event that waits longer is reported"),
        "keep_events": (Duration, "14d", "an event that comes again within this time is recognised"),
    },
    "scheduler": {
        "timezone": (str, "local", 'the zone of schedules; "local" is the system\'s, as with cron'),
        "namespace": (str, "app", "the {ns} of Redis keys"),
        "workers": (int, 4, "runs at once in one scheduler process"),
        "shard_folder": (str, "", "files of divided runs; workers on several hosts need one folder for all"),
        "job_folders": (list, [], "folders whose *.py files declare jobs, relative to this file"),
    },
    "pools": {
        "*": (int, None, 'heavy=2: at most two runs at once, on all hosts, of all jobs whose pool is "heavy"'),
    },
    **FETCH_TABLES,
}

JOB: Table = {
    "enabled": (bool, True, "false: never scheduled, and not runnable"),
    "command": ((list, str), None, "a command job: the program and its arguments"),
    "shell": (bool, False, "true: command is one string for /bin/sh"),
    "stdin": (str, None, "what a command reads on its standard input; by default nothing"),
    "environment": (dict, None, "variables of a command, beside those of clockmill itself"),
    "folder": (str, None, "where a command starts; by default CLOCKMILL_HOME"),
    "schedule": ((str, list), None, "a crontab line, or several whose slots are united"),
    "timezone": (str, None, "this job's zone"),
    "start": (str, None, "no slot before this instant"),
    "end": (str, None, "no slot after this instant"),
    "jitter": (Duration, None, "each start is delayed by a stable part of this"),
    "exclude": (list, None, "dates, date ranges or crontab lines without slots"),
    "dst_gap": (str, None, "run or skip: a fixed time that the clock jumps over"),
    "dst_overlap": (str, None, "first, last or both: a fixed time that comes twice"),
    "timeout": (Duration, None, "an attempt is ended after this"),
    "retries": (int, None, "further attempts after a failed one"),
    "backoff": (Duration, None, "wait before the first retry; doubles"),
    "overlap": (str, None, "what a slot does while an earlier run is still running"),
    "catch_up": (str, None, "none, latest, earliest or all of the slots missed while nothing ran"),
    "catch_up_window": (Duration, None, "how far back; by default one period, at most 24h"),
    "priority": (int, None, "higher runs first"),
    "pool": (str, None, "a pool of [pools]: a run waits until one of its places is free"),
    "needs": ((str, list), None, "labels of [broker] labels, for instance gpu: only workers that offer them run it"),
    "order_by": (str, None, "a parameter, or any word: runs with the same value never overlap and keep their order"),
    "after": ((str, list, dict), None, 'jobs that must have succeeded first, or { any = [..], on = "failure" }'),
    "on": ((str, list), None, "types of events that trigger it, for instance app.order.*"),
    "debounce": (Duration, None, "a triggered run waits until no event has come for so long"),
    "batch": (int, None, "or until so many are there"),
    "memory": (Size, None, "an attempt that holds more is ended, with all it started"),
    "open_files": (int, None, "an attempt may have so many files open"),
    "retry_on": ((list, str, int), None, 'only these exit codes, exceptions, or "timeout" are retried'),
    "on_lost": (str, None, "rerun or fail when the worker died"),
    "executor": (str, None, "process, thread, or celery: carried by the broker to clockmill worker"),
    "keep_for": (Duration, None, "ended runs and their logs are kept so long; by default 90d"),
    "keep_runs": (int, None, "and so many of them; by default 10000"),
    "keep_log_mb": (int, None, "and so many megabytes of their logs; by default 200"),
    "params": (dict, None, "the job's parameters"),
}
SOURCE: Table = {
    "table": (str, None, "the application's table, schema.table where it needs one"),
    "query": (str, None, "or one read-only SELECT"),
    "columns": (dict, {}, "canonical column = the application's column"),
    "where": (str, None, "a condition on the table's rows"),
    "increment": (str, None, "the column that grows with every change"),
    "append_only": (bool, False, "rows are only ever added; additive counters then read the new ones alone"),
    "url": (str, None, "another database than [database] url"),
}
COUNTER: Table = {
    "query": (str, None, "a SELECT of key and value; {posts} stands for the mapped source"),
    "additive": (bool, False, "count(*) or sum() over one append_only source: new rows add to what was counted"),
    "url": (str, None, "another database than [database] url"),
}
COLLECTIONS: dict[str, Table] = {"jobs": JOB, "sources": SOURCE, "counters": COUNTER}

TYPE_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True)
class Config:
    """Settings by table; `origins` says for each dotted key where its value was found."""

    home: Path
    file: Path | None
    tables: Mapping[str, Mapping[str, Any]]
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def var(self) -> Path:
        """Database, logs, sockets and caches live here."""
        return self.home / "var"

    @property
    def database_url(self) -> str:
        """[database] url, with the path of a SQLite file made absolute."""
        url: str = self.tables["database"]["url"]
        return absolute_sqlite(url, self.home)

    @property
    def namespace(self) -> str:
        return str(self.tables["scheduler"]["namespace"])

    def table(self, name: str) -> Mapping[str, Any]:
        return self.tables.get(name, {})

    def where(self, key: str) -> str:
        """Where a dotted key was set, for messages: the file or the variable."""
        return self.origins.get(key, "default")

    def flat(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted key, value, origin), in order."""
        for name, table in self.tables.items():
            for key, value in table.items():
                if name in COLLECTIONS and isinstance(value, Mapping):
                    yield from ((f"{name}.{key}.{k}", v, self.where(f"{name}.{key}.{k}")) for k, v in value.items())
                else:
                    yield f"{name}.{key}", value, self.where(f"{name}.{key}")


def absolute_sqlite(url: str, home: Path) -> str:
    """A SQLite URL whose relative path starts at `home`; other URLs as they are."""
    for scheme in ("sqlite:///", "sqlite+pysqlite:///"):
        path = url.removeprefix(scheme)
        if path != url and path and not path.startswith(("/", ":memory:", "file:")):
            return f"{scheme}{home / path}"
    return url


def home_of(environ: Mapping[str, str] = os.environ) -> Path:
    """CLOCKMILL_HOME, by default the current folder."""
    return Path(environ.get("CLOCKMILL_HOME") or ".").absolute()


def load(config_file: str | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Reads and checks everything. Raises ConfigError naming the file or variable, the key, and what is allowed."""
    home = home_of(environ)
    path = Path(config_file).absolute() if config_file else home / "clockmill.toml"
    if config_file and not path.is_file():
        raise ConfigError(f"--config: there is no file {path}")
    if config_file and "CLOCKMILL_HOME" not in environ:
        home = path.parent
    written = _parse(path) if path.is_file() else {}
    return merge(home, path if path.is_file() else None, written, environ)


def merge(home: Path, file: Path | None, written: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """The configuration of a file's content and an environment."""
    origins: dict[str, str] = {}
    tables: dict[str, dict[str, Any]] = {
        name: {key: default for key, (_, default, _) in table.items() if key != "*"} for name, table in TABLES.items()
    }
    tables |= {name: {} for name in COLLECTIONS}
    for keys, value in _leaves(written):
        _set(tables, keys, _plain(value), str(file), origins)
    for variable, keys, text in _variables(environ):
        _set(tables, keys, _from_text(text, _expected(keys, variable), variable), variable, origins)
    return Config(home, file, tables, origins)


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        # Editors of Windows put a mark before the first letter.
        return tomllib.loads(data.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path}: not TOML: {e}") from None
    except UnicodeDecodeError as e:
        number = e.object.count(b"\n", 0, e.start) + 1
        raise ConfigError(f"{path}: not TOML: line {number} is not UTF-8") from None
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}") from None


def _plain(value: Any) -> Any:
    """Dates and times of TOML as the texts that they may be written as, too."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _leaves(written: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, table in written.items():
        if not isinstance(table, Mapping):
            yield (name,), table
            continue
        for key, value in table.items():
            if name not in COLLECTIONS or not isinstance(value, Mapping):
                yield (name, key), value
                continue
            if not value:
                yield (name, key), {}
            yield from (((name, key, k), v) for k, v in value.items())


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    # Without "__" it is no setting: CLOCKMILL_HOME, CLOCKMILL_RUN_ID and their like.
    for variable in sorted(environ):
        keys = tuple(variable.removeprefix("CLOCKMILL_").lower().split("__"))
        if variable.startswith("CLOCKMILL_") and len(keys) > 1:
            yield variable, keys, environ[variable]


def _set(tables: dict[str, dict[str, Any]], keys: tuple[str, ...], value: Any, origin: str, origins: Any) -> None:
    expected = _expected(keys, origin)
    if len(keys) == 2 and keys[0] in COLLECTIONS and value == {}:
        tables[keys[0]].setdefault(keys[1], {})
        return
    _check(value, expected, keys, origin)
    table = tables[keys[0]]
    for key in keys[1:-1]:
        table = table.setdefault(key, {})
    table[keys[-1]] = value
    origins[".".join(keys)] = origin


def _expected(keys: tuple[str, ...], origin: str) -> Any:
    """The type of a key; raises ConfigError for an unknown one."""
    if keys[0] in COLLECTIONS:
        if len(keys) < 2:
            raise ConfigError(f"{origin}: [{keys[0]}] must be a table of tables, as in [{keys[0]}.NAME]")
        if len(keys) == 2:
            return dict
        table, shown = COLLECTIONS[keys[0]], f"[{keys[0]}.{keys[1]}] {keys[2]}"
    elif keys[0] not in TABLES:
        known = [*TABLES, *COLLECTIONS]
        raise ConfigError(
            f"{origin}: unknown table [{keys[0]}]{did_you_mean(keys[0], known)}; known: {', '.join(known)}"
        )
    else:
        table, shown = TABLES[keys[0]], f"[{keys[0]}] {keys[-1]}"
    last = keys[2] if keys[0] in COLLECTIONS else keys[-1]
    if "*" in table and len(keys) == 2:
        return table["*"][0]
    if last not in table or len(keys) == 1:
        raise ConfigError(f"{origin}: unknown key {shown}{did_you_mean(last, table)}; known: {', '.join(table)}")
    return table[last][0]


def _check(value: Any, expected: Any, keys: tuple[str, ...], origin: str) -> None:
    shown = f"[{'.'.join(keys[:-1])}] {keys[-1]}"
    if isinstance(expected, str):
        try:
            PARSERS[expected](value)
        except ConfigError as e:
            raise ConfigError(f"{origin}: {shown}: {e}") from None
        return
    allowed = expected if isinstance(expected, tuple) else (expected,)
    right = isinstance(value, allowed) or (float in allowed and isinstance(value, int))
    if not right or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join(TYPE_NAMES[kind] for kind in allowed)
        raise ConfigError(f"{origin}: {shown} = {value!r}: expected {names}")


def _from_text(text: str, expected: Any, variable: str) -> Any:
    """A variable's text as the type its key has: texts as they are, anything else as TOML writes it."""
    allowed = expected if isinstance(expected, tuple) else (expected,)
    if isinstance(expected, str) or (str in allowed and not text.startswith("[")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        names = " or ".join(TYPE_NAMES.get(kind, str(kind)) for kind in allowed)
        raise ConfigError(f"{variable} = {text!r}: expected {names}") from None
