"""Changing a setting in clockmill.toml, so that everything else in the file stays as it was written."""

import os
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clockmill.config import Config, merge
from clockmill.errors import ConfigError
from clockmill.registry import discover


def set_params(config: Config, job: str, params: Mapping[str, Any]) -> Path:
    """Sets these parameters of [jobs.NAME] and keeps its others, comments and order.

    Raises ConfigError, and writes nothing, when the file would not be a whole configuration then.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = config.file or config.home / "clockmill.toml"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        document = tomlkit.parse(before)
        jobs = document.setdefault("jobs", tomlkit.table(is_super_table=True))
        own = jobs.setdefault(job, tomlkit.table())
        own.setdefault("params", tomlkit.inline_table()).update(params)
    except (TOMLKitError, AttributeError) as e:
        raise ConfigError(f"{path}: [jobs.{job}] params cannot be set: {e}") from None
    put(config, path, tomlkit.dumps(document), "the parameters cannot be set")
    return path


def put(config: Config, path: Path, text: str, failing: str) -> None:
    """Writes the file if it is a whole configuration. Raises ConfigError, and writes nothing, if not."""
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path}: {failing}: {e}") from None
    discover(merge(config.home, path, written, os.environ))
    aside = path.with_name(path.name + ".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(text, encoding="utf-8")
    if path.exists():
        shutil.copymode(path, aside)
    aside.replace(path)
