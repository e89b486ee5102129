"""Entries of a crontab as command jobs of clockmill.toml."""

import getpass
import json
import pwd
import re
from pathlib import Path

from clockmill.config import Config
from clockmill.config_edit import put
from clockmill.crontab_file import CrontabFile, Entry
from clockmill.crontab_names import names

HEAD = """\
# Jobs from {source}. Cron would let a job overlap with itself and forget what it missed; here a slot that meets
# a running one is skipped, and the latest missed slot is caught up (overlap, catch_up).
"""
#: Cron ends no job; a day is the nearest to that which still notices one that hangs.
TIMEOUT = "1d"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(file: CrontabFile, source: str, taken: set[str]) -> str:
    """Tables [jobs.NAME], comments in their places. `taken`: names that other jobs have."""
    blocks = [HEAD.format(source=source)]
    for name, entry in zip(names(file.entries, taken), file.entries, strict=True):
        blocks.append(_comments(entry.comments) + _job(name, entry))
    return "\n".join([*blocks, *([tail] if (tail := _comments(file.tail)) else [])])


def _comments(lines: list[str]) -> str:
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip("\n"))
    return f"{text}\n" if text else ""


def _job(name: str, entry: Entry) -> str:
    variables = dict(entry.variables)
    shell = variables.pop("SHELL", "/bin/sh")
    folder = variables.get("HOME", f"~{entry.user}")
    lines = [f"[jobs.{name}]", f"schedule = {_text(entry.schedule)}"]
    if entry.zone:
        lines.append(f"timezone = {_text(entry.zone)}")
    lines += _command(entry, shell)
    if entry.stdin:
        lines.append(f"stdin = {_text(entry.stdin)}")
    lines.append(f"folder = {_text(folder)}")
    variables = _of_user(entry.user) | variables
    if variables:
        pairs = ", ".join(f"{_key(key)} = {_text(value)}" for key, value in variables.items())
        lines.append(f"environment = {{ {pairs} }}")
    if variables.get("MAILTO"):
        lines.append("# clockmill sends no mail; what the job prints is kept: clockmill runs logs RUN")
    lines.append(f"timeout = {_text(TIMEOUT)}")
    return "\n".join(lines) + "\n"


def _command(entry: Entry, shell: str) -> list[str]:
    if entry.user and entry.user != getpass.getuser():
        # As cron does it; only root may, so such a job needs a scheduler that is root.
        words = ["/usr/sbin/runuser", "-u", entry.user, "--", shell, "-c", entry.command]
        return [f"command = {_texts(words)}"]
    if shell in ("/bin/sh", "sh"):
        return [f"command = {_text(entry.command)}", "shell = true"]
    return [f"command = {_texts([shell, '-c', entry.command])}"]


def _of_user(user: str) -> dict[str, str]:
    if not user or user == getpass.getuser():
        return {}
    try:
        return {"LOGNAME": user, "USER": user, "HOME": pwd.getpwnam(user).pw_dir}
    except KeyError:
        return {"LOGNAME": user, "USER": user}


def _text(value: str) -> str:
    """A TOML string; JSON's differ only in that they may hold DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _texts(values: list[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def append(config: Config, path: Path, text: str) -> None:
    """Adds the tables to the configuration's file, if it is a whole configuration then. Raises ConfigError, and
    writes nothing, if not."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    put(config, path, before + ("\n" if before else "") + text, "the jobs cannot be appended")
