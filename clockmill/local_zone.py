"""The name of the zone in which this host's own cron reads its lines."""

import os
from pathlib import Path

_ZONE_FILE = Path("/etc/timezone")
_ZONE_LINK = Path("/etc/localtime")


def local_timezone() -> str:
    """The TZ variable, else /etc/timezone, else where /etc/localtime points, else UTC. The name is not checked here."""
    return _from_variable() or _from_file(_ZONE_FILE) or _from_link(_ZONE_LINK) or "UTC"


def _from_variable() -> str:
    return _after_zoneinfo(os.environ.get("TZ", "").removeprefix(":"))


def _from_file(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _from_link(path: Path) -> str:
    try:
        target = str(path.readlink())  # one step: tzdata links some zones to others, and the first name is the host's
    except OSError:
        return ""
    return _after_zoneinfo(target) if "/zoneinfo/" in target else ""


def _after_zoneinfo(path: str) -> str:
    return path.rpartition("/zoneinfo/")[2]
