"""Finding jobs: entry points of installed packages, files of configured folders, commands in the configuration.

Built-in jobs come through the same entry points as anybody's.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from clockmill.config import Config
from clockmill.errors import ClockmillError, ConfigError, did_you_mean
from clockmill.handler_spec import HandlerSpec
from clockmill.job_spec import JOB_NAME, JobSpec, override

GROUP = "clockmill.jobs"
#: How the modules of files are called, whatever else has the file's name.
FILE_MODULES = "clockmill_jobs_"
#: Keys that only a command job has.
COMMAND_KEYS = ("command", "shell", "stdin", "environment", "folder")


@dataclass(frozen=True)
class Registry:
    """The jobs that can run, those whose code cannot be loaded, with the reason, and the handlers of events."""

    jobs: Mapping[str, JobSpec]
    broken: Mapping[str, str] = field(default_factory=dict)
    handlers: Mapping[str, HandlerSpec] = field(default_factory=dict)

    def get(self, name: str) -> JobSpec:
        """Raises ConfigError, with the nearest name, for a job that is not there."""
        if name in self.jobs:
            return self.jobs[name]
        if name in self.broken:
            raise ConfigError(f'job "{name}" is broken: {self.broken[name]}')
        raise ConfigError(f'no job "{name}"{did_you_mean(name, self.jobs)}; known: {", ".join(sorted(self.jobs))}')


def discover(config: Config) -> Registry:
    """Every job there is, with the configuration's policies. Raises ConfigError for settings of no job."""
    found: dict[str, JobSpec] = {}
    handlers: dict[str, HandlerSpec] = {}
    broken: dict[str, str] = {}
    for name, load in _places(config):
        try:
            place = load()
            specs, listening = list(declared(place)), list(declared_handlers(place))
        except ConfigError as e:
            broken[name] = str(e)
        except (Exception, SystemExit) as e:
            # Anything can go wrong while a stranger's module is imported, and nothing of it may stop the others.
            broken[name] = f"{type(e).__name__}: {e}"
        else:
            _add(found, specs)
            _add_handlers(handlers, listening)
    settings = config.table("jobs")
    for name, table in settings.items():
        if "command" in table and name in found:
            raise ConfigError(
                f"{config.file}: [jobs.{name}] command: {found[name].origin} declares a job of that name; "
                "take another name, or leave out command to set the policies of that job"
            )
    jobs = {name: _configured(spec, settings.get(name, {}), config) for name, spec in found.items()}
    jobs |= {name: _command(name, table, config) for name, table in settings.items() if "command" in table}
    broken = _without_code(config, settings, jobs, broken)
    enabled = {name: jobs[name] for name in sorted(jobs) if settings.get(name, {}).get("enabled", True)}
    return Registry(_linked(enabled, broken, config), broken, handlers)


def command_of(name: str, config: Config) -> JobSpec | None:
    """The command job of this name, if it is one and its runs depend on no other job; nobody's code is loaded.

    Whether some code declares a job of that name too is left to whoever loads all of it.
    """
    table = config.table("jobs").get(name, {})
    if "command" not in table or "after" in table or not table.get("enabled", True):
        return None
    spec = _command(name, table, config)
    _check_place(spec, config)
    return spec


def _linked(jobs: dict[str, JobSpec], broken: Mapping[str, str], config: Config) -> dict[str, JobSpec]:
    """The jobs, each knowing what those it comes after come after. Raises ConfigError for an unknown job or pool."""
    for spec in jobs.values():
        _check_place(spec, config)
        for name in spec.after.jobs if spec.after else ():
            # Where some code cannot be loaded, the job may be in it.
            if name not in jobs and not broken:
                raise ConfigError(f'job {spec.name}: after: no job "{name}"{did_you_mean(name, jobs)}')
    above: dict[str, set[str]] = {}
    for name in _in_order({name: spec.after.jobs for name, spec in jobs.items() if spec.after}):
        after = jobs[name].after if name in jobs else None
        above[name] = set(after.jobs).union(*(above[one] for one in after.jobs)) if after else set()
    return {name: _rooted(spec, jobs, above) for name, spec in jobs.items()}


def _in_order(graph: Mapping[str, tuple[str, ...]]) -> list[str]:
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as e:
        raise ConfigError(f"jobs that come after themselves: {' after '.join(reversed(e.args[1]))}") from None


def _rooted(spec: JobSpec, jobs: Mapping[str, JobSpec], above: Mapping[str, set[str]]) -> JobSpec:
    if spec.after is None:
        return spec
    triggered = [name for name in spec.after.jobs if name in jobs and not jobs[name].schedule]
    roots = {root for name in triggered for root in above[name]}
    return replace(spec, after=replace(spec.after, roots=tuple(sorted(roots))))


def _check_place(spec: JobSpec, config: Config) -> None:
    pools, labels = config.table("pools"), config.table("broker")["labels"]
    if spec.pool is not None and spec.pool not in pools:
        known = ", ".join(pools) or "none; write [pools] and a line like heavy = 2"
        raise ConfigError(f'job {spec.name}: no pool "{spec.pool}"{did_you_mean(spec.pool, pools)}; known: {known}')
    for label in spec.needs:
        if label not in labels:
            known = ", ".join(map(str, labels)) or 'none; write [broker] labels = ["gpu"]'
            hint = did_you_mean(label, labels)
            raise ConfigError(f'job {spec.name}: needs: no label "{label}"{hint}; known: {known}')


def _without_code(
    config: Config, settings: Mapping[str, Any], jobs: Mapping[str, JobSpec], broken: Mapping[str, str]
) -> dict[str, str]:
    """What is broken, with the jobs that have settings and no code: it may be in a file that cannot be imported."""
    strangers = [name for name in settings if name not in jobs and name not in broken]
    if strangers and not broken:
        name = strangers[0]
        raise ConfigError(
            f"{config.file}: [jobs.{name}]: no such job{did_you_mean(name, jobs)}; "
            f"a command job needs `command`, others are: {', '.join(sorted(jobs))}"
        )
    why = f"its code was not found; these could not be loaded: {', '.join(broken)}"
    return {**broken, **dict.fromkeys(strangers, why)}


def _add(found: dict[str, JobSpec], specs: list[JobSpec]) -> None:
    for spec in specs:
        if spec.name in found and found[spec.name].function is not spec.function:
            raise ConfigError(f'job "{spec.name}" is declared in {found[spec.name].origin} and {spec.origin}')
        found[spec.name] = spec


def _add_handlers(found: dict[str, HandlerSpec], specs: list[HandlerSpec]) -> None:
    for spec in specs:
        if spec.name in found and found[spec.name].function is not spec.function:
            raise ConfigError(f'handler "{spec.name}" is declared in {found[spec.name].origin} and {spec.origin}')
        found[spec.name] = spec


def _places(config: Config) -> Iterator[tuple[str, Any]]:
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        yield point.name, _loader(point)
    for folder in config.table("scheduler").get("job_folders", []):
        base = config.file.parent if config.file else config.home
        path = base / str(folder)
        if not path.is_dir():
            raise ConfigError(f"{config.where('scheduler.job_folders')}: [scheduler] job_folders: no folder {path}")
        for file in sorted(path.glob("*.py")):
            if not file.name.startswith("_"):
                yield file.stem.lower().replace(" ", "-"), _file_loader(file)


def _loader(point: EntryPoint) -> Any:
    return point.load


def _file_loader(file: Path) -> Any:
    return lambda: load_file(file)


def load_file(file: Path) -> ModuleType:
    """The module in this file, imported once under one name, whatever else is called alike."""
    name = f"{FILE_MODULES}{hashlib.sha256(str(file).encode()).hexdigest()[:8]}.{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ClockmillError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def forget_files() -> None:
    """Files of the configured folders are read anew when jobs are next looked for; packages are not."""
    for name in [name for name in sys.modules if name.startswith(FILE_MODULES)]:
        del sys.modules[name]


def declared(found: Any) -> Iterator[JobSpec]:
    """The jobs of a module, or of the function that an entry point names."""
    candidates = vars(found).values() if isinstance(found, ModuleType) else [found]
    for candidate in candidates:
        spec = getattr(candidate, "clockmill_job", None)
        if isinstance(spec, JobSpec):
            own = not isinstance(found, ModuleType) or spec.origin == found.__name__
            if own:
                yield replace(spec, origin=_origin(found, spec))


def declared_handlers(found: Any) -> Iterator[HandlerSpec]:
    """The handlers of a module. A function may be a handler and a job at once."""
    for candidate in vars(found).values() if isinstance(found, ModuleType) else [found]:
        spec = getattr(candidate, "clockmill_handler", None)
        if isinstance(spec, HandlerSpec) and (not isinstance(found, ModuleType) or spec.origin == found.__name__):
            yield replace(spec, origin=_origin(found, spec))


def _origin(found: Any, spec: JobSpec | HandlerSpec) -> str:
    if spec.origin.startswith(FILE_MODULES):
        return str(getattr(found, "__file__", spec.origin))
    return spec.origin


def _configured(spec: JobSpec, table: Mapping[str, Any], config: Config) -> JobSpec:
    for key in COMMAND_KEYS:
        if key in table:
            raise ConfigError(f"{config.file}: [jobs.{spec.name}] {key}: only a job with `command` has it")
    known = {**{"timezone": config.table("scheduler")["timezone"]}, **table}
    if spec.timezone != "local" and "timezone" not in table:
        del known["timezone"]
    policies = {key: value for key, value in known.items() if key not in ("enabled", "params")}
    if policies.get("schedule") == "":
        policies["schedule"] = ()
    try:
        return override(spec, policies).with_params(table.get("params", {}))
    except ConfigError as e:
        raise ConfigError(f"{config.file or 'defaults'}: [jobs.{spec.name}]: {e}") from None


def _command(name: str, table: Mapping[str, Any], config: Config) -> JobSpec:
    if not JOB_NAME.fullmatch(name):
        raise ConfigError(f'{config.file}: [jobs."{name}"]: a name of a job is {JOB_NAME.pattern}')
    command, shell = table["command"], bool(table.get("shell", False))
    right = isinstance(command, str) if shell else isinstance(command, list)
    if not right or not command or not all(isinstance(word, str) and "\0" not in word for word in command):
        wanted = "one string" if shell else 'a list of texts, as in ["/usr/bin/env", "bash", "export.sh"]'
        raise ConfigError(f"{config.file}: [jobs.{name}] command = {command!r}: expected {wanted}")
    spec = JobSpec(
        name=name,
        command=(command,) if shell else tuple(command),
        shell=shell,
        stdin=table.get("stdin", ""),
        environment=_environment(name, table, config),
        folder=table.get("folder", ""),
        # Carried by the broker or not, a command is a command.
        executor="celery" if table.get("executor") == "celery" else "command",
        # What a command did outside is not known: it is not done twice unless its owner says that it may be.
        on_lost="fail",
        origin=str(config.file or "environment"),
    )
    return _configured(spec, {k: v for k, v in table.items() if k not in ("executor", *COMMAND_KEYS)}, config)


def _environment(name: str, table: Mapping[str, Any], config: Config) -> dict[str, str]:
    given = table.get("environment", {})
    for key, value in given.items():
        if not isinstance(value, str) or "\0" in key + value or "=" in key or not key:
            where = f"{config.file}: [jobs.{name}] environment.{key}"
            raise ConfigError(f"{where} = {value!r}: expected a text without NUL")
    return dict(given)
