"""Whether there is room left where a scheduler has to write."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from clockmill.sizes import format_size

#: With less than this a file system counts as full: a log or a transaction would not fit.
LEAST = 1_000_000


def cramped(folders: Iterable[Path]) -> str:
    """A sentence about the first folder whose file system is full; empty when there is room in all of them."""
    for folder in folders:
        place = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
        if place is None:
            continue
        try:
            free = shutil.disk_usage(place).free
        except OSError:
            # It went away in between; whoever writes there says so.
            continue
        if free < LEAST:
            return f"no room in {folder}: {format_size(free)} left"
    return ""
