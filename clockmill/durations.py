"""Lengths of time as people write them."""

import re
from datetime import timedelta

from clockmill.errors import ConfigError

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+", re.ASCII)
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)


def parse_duration(text: str | int | float) -> timedelta:
    """`30m`, `1h30m`, `90s`, `1d`, `250ms`; a bare number is seconds. Raises ConfigError."""
    try:
        length = timedelta(seconds=_seconds(text))
        if length >= timedelta(0):
            return length
    except (ValueError, OverflowError):
        pass
    raise ConfigError(f'"{text}" is not a length of time; write for instance 90s, 30m, 1h30m or 1d')


def _seconds(text: str | int | float) -> float:
    if isinstance(text, int | float) and not isinstance(text, bool):
        return text
    written = str(text).strip()
    if not WHOLE.fullmatch(written):
        raise ValueError(written)
    return sum(float(number) * UNITS[unit] for number, unit in PART.findall(written))


def format_duration(length: timedelta | float) -> str:
    """The shortest such text: `1h30m`, `2.5s`."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else float(length)
    if seconds < 60:
        return f"{seconds:.3g}s" if seconds < 10 else f"{seconds:.0f}s"
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number)
