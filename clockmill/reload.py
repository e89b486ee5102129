"""A newer configuration for a scheduler that runs: read, checked whole, compared. Nothing here changes what runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from clockmill import config as configuration
from clockmill.config import Config
from clockmill.errors import ConfigError
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.registry import Registry, forget_files

#: Settings under which runs are in progress: table, and keys (none: all of them).
FIXED: Mapping[str, tuple[str, ...]] = {
    "database": (),
    "redis": (),
    "broker": (),
    "scheduler": ("namespace", "workers"),
}


def reloaded(mill: Mill) -> Mill:
    """The mill as it is configured now. Raises ClockmillError, with the reason, when it could not run so."""
    config = configuration.load(str(mill.config.file) if mill.config.file else None)
    refuse_fixed(mill.config, config)
    forget_files()
    fresh = mill.renewed(config)
    for name, reason in fresh.registry.broken.items():
        if name not in mill.registry.broken:
            raise ConfigError(f"job {name} is broken: {reason}")
    return fresh


def refuse_fixed(old: Config, new: Config) -> None:
    for table, keys in FIXED.items():
        before, after = old.table(table), new.table(table)
        for key in keys or {**before, **after}:
            if before.get(key) != after.get(key):
                file = new.file or "defaults"
                raise ConfigError(f"{file}: [{table}] {key} cannot change while the scheduler runs; restart it")


def difference(old: Registry, new: Registry) -> Iterator[str]:
    """One sentence for each job that is new, gone or changed."""
    for name in sorted({*old.jobs, *new.jobs}):
        if name not in new.jobs:
            yield f"job {name}: gone; its rows stay, nothing of it is started any more"
        elif name not in old.jobs:
            yield f"job {name}: new, {' + '.join(new.jobs[name].schedule) or 'runs only when asked'}"
        else:
            changes = list(_changes(old.jobs[name], new.jobs[name]))
            if changes:
                yield f"job {name}: {', '.join(changes)}"


def _changes(old: JobSpec, new: JobSpec) -> Iterator[str]:
    before, after = old.identity(), new.identity()
    for key in {**before, **after}:
        was, value = before.get(key), after.get(key)
        if was != value:
            yield key if key == "environment" else f"{key} {_shown(was)} -> {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return " + ".join(value)
    return str(value)
