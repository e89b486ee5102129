"""This home's lines in the user's own crontab: a marked block, put in, replaced, taken out; all else stays as it is."""

import difflib
import re
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from clockmill.errors import ClockmillError, ConfigError

#: The `crontab` command answers at once, or something is wrong with it.
PATIENCE_S = 30


def current() -> str:
    """The user's crontab, empty when there is none."""
    done = _crontab("-l")
    if done.returncode and "no crontab" not in done.stderr:
        raise ClockmillError(f"crontab -l failed: {done.stderr.strip()}")
    return "" if done.returncode else done.stdout


def put(text: str) -> None:
    """Makes this text the user's crontab; an empty one removes it."""
    done = _crontab("-", text) if text else _crontab("-r")
    if done.returncode and "no crontab" not in done.stderr:
        raise ClockmillError(f"crontab refused the new lines: {done.stderr.strip()}")


def _crontab(argument: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            ["crontab", argument], input=text, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except (FileNotFoundError, PermissionError):
        raise ClockmillError(
            "the command crontab cannot be run; install cron, or let the scheduler keep time"
        ) from None
    except subprocess.TimeoutExpired:
        raise ClockmillError(f"crontab did not answer within {PATIENCE_S} s") from None


def with_block(text: str, home: str, lines: Sequence[str]) -> str:
    """The crontab with this home's block in its place, at the end when it has none yet; without lines, without it."""
    before, after = _around(text, home)
    if not lines:
        return before.removesuffix("\n") + after if before.endswith("\n\n") else before + after
    zones = re.findall(r"(?m)^[ \t]*CRON_TZ[ \t]*=.*", before)
    if zones:
        raise ConfigError(f"the crontab sets {zones[-1].strip()}, which some crons apply to all lines below; remove it")
    gap = "\n" if before and not before.endswith("\n\n") and not after else ""
    begin = f"# BEGIN clockmill {home} (by clockmill crontab install; what is changed in here is lost)"
    return before + gap + "\n".join([begin, *lines, f"# END clockmill {home}"]) + "\n" + after


def _around(text: str, home: str) -> tuple[str, str]:
    """What stands before and after this home's block; all of it before when there is none."""
    if text and not text.endswith("\n"):
        text += "\n"
    lines = text.splitlines(keepends=True)
    begins = [i for i, line in enumerate(lines) if line.startswith(f"# BEGIN clockmill {home} (")]
    ends = [i for i, line in enumerate(lines) if line.rstrip("\n") == f"# END clockmill {home}"]
    if not begins and not ends:
        return text, ""
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise ConfigError(
            f"the crontab has {len(begins)} first and {len(ends)} last lines of the block of {home}; "
            "mend that with crontab -e"
        )
    return "".join(lines[: begins[0]]), "".join(lines[ends[0] + 1 :])


def difference(old: str, new: str) -> str:
    """As `diff -u` shows it; empty when there is none."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "crontab now", "crontab then", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def keep(text: str, folder: Path, now: datetime) -> Path:
    """Keeps the crontab that is about to be replaced; where."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"crontab.{now:%Y%m%dT%H%M%S}"
    path.write_text(text, encoding="utf-8")
    return path
