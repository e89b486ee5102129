"""Finding and killing everything that descends from a process, whatever session it moved to."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

PROC = Path("/proc")


def adopt_orphans() -> None:
    """From now on descendants that lose their parent become children of this process (Linux only)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """The kernel kills this process when its parent dies, however the parent dies (Linux only)."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def start_time(pid: int) -> int:
    """When the process began, in clock ticks since boot; 0 when it is gone or the system does not tell."""
    return int(_stat(pid)[19]) if _stat(pid) else 0


def _stat(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return []


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()] if PROC.is_dir() else []


def descendants(root: int, spared: Collection[int] = ()) -> list[int]:
    """Every living process below `root`, parents first, but for the `spared` ones and what is below these."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid in _pids():
        stat = _stat(pid)
        if stat and stat[0] != "Z":
            children[int(stat[1])].append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), []) if pid not in spared]
        found += below
        waiting += below
    return found


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_descendants(root: int, reap: Callable[[], None], patience_s: float = 5.0, spared: Collection[int] = ()) -> int:
    """Kills until nothing is left below `root` (a fork bomb takes several rounds); how many are still there.

    `reap` collects the dead that are children of this process.
    """
    until = time.monotonic() + patience_s
    while (alive := descendants(root, spared)) and time.monotonic() < until:
        # Stopped first, they cannot fork while the others die.
        send(alive, signal.SIGSTOP)
        send(descendants(root, spared), signal.SIGKILL)
        reap()
        time.sleep(0.01)
    return len(alive)
