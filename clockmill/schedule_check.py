"""The schedules of a configuration, read without its jobs and its database: what is wrong is told at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from clockmill.config import Config
from clockmill.errors import ScheduleError
from clockmill.local_zone import local_timezone
from clockmill.schedule import parse
from clockmill.toml_lines import line_of

#: Keys of a job's table that make its schedule, as `parse` has them.
_KEYS = ("exclude", "dst_gap", "dst_overlap")


def wrong_schedules(config: Config) -> Iterator[ScheduleError]:
    """One error, with file, line and field, for each [jobs.NAME] whose schedule cannot be read."""
    for name, table in config.table("jobs").items():
        try:
            _read(name, table, config.table("scheduler")["timezone"])
        except ScheduleError as e:
            yield ScheduleError(f"{place_of(config, name, str(e))}: {e}")


def _read(name: str, table: Mapping[str, Any], default_zone: str) -> None:
    zone = table.get("timezone", default_zone)
    settings = {key: table[key] for key in _KEYS if key in table}
    # A job without a schedule here may have one in its code: its zone and exclusions are read all the same.
    parse(
        table.get("schedule") or "@daily", name=name, timezone=local_timezone() if zone == "local" else zone, **settings
    )


def place_of(config: Config, name: str, error: str) -> str:
    """Variable, or file and line, and table of what such an error is about."""
    word = error.partition(" ")[0]
    key = {"time": "timezone"}.get(word, word)
    own = config.table("jobs").get(name, {})
    table = "scheduler" if key == "timezone" and key not in own else f"jobs.{name}"
    origin = config.where(f"{table}.{key}")
    if origin.startswith("CLOCKMILL_") or config.file is None:
        return f"{origin}: [{table}]"
    number = line_of(config.file, table, key)
    return f"{config.file}: {f'line {number}: ' if number else ''}[{table}]"
