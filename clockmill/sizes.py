"""Amounts of memory as people write them."""

import re

from clockmill.errors import ConfigError

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
WHOLE = re.compile(r"(\d+(?:\.\d+)?)([KMGT])i?B?", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Bytes: `512M`, `1.5G`; a bare number is bytes. Raises ConfigError."""
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    written = WHOLE.fullmatch(str(text).strip())
    if not written or not float(written[1]):
        raise ConfigError(f'"{text}" is not an amount of memory; write for instance 512M or 2G')
    return int(float(written[1]) * UNITS[written[2].upper()])


def format_size(size: int) -> str:
    """The same for people: `512M`, `1.5G`."""
    unit = next((unit for unit in ("T", "G", "M") if size >= UNITS[unit]), "K")
    return f"{size / UNITS[unit]:.4g}{unit}"
