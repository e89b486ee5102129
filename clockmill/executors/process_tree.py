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

from db.pause import pause

#: Whether orphans come to their nearest ancestor that asked for them, and a parent's death can be a signal.
ADOPTS = sys.platform == "linux"

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

#: A killed process that is still there after so long waits for a disk; nothing more can be done.
KILL_S = 5.0

PROC = Path("/proc")


def adopt_orphans() -> None:
    """From now on descendants that lose their parent become children of this process (Linux only)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """The kernel kills this process when its parent dies, however the parent dies (Linux only)."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if ADOPTS:
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


def below(root: int) -> list[int]:
    """The same by the kernel's lists of children: cheap enough to ask often, and blind to what forks meanwhile."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    try:
        lists = [task / "children" for task in (PROC / str(pid) / "task").iterdir()]
        return [int(child) for children in lists for child in children.read_text().split()]
    except (OSError, ValueError):
        return []


def kill_survivors(leader: int, began: int) -> int:
    """Kills the process that began then, and whatever is in the session that it led; how many are still there."""

    def alive() -> list[int]:
        stats = ((pid, _stat(pid)) for pid in _pids())
        return [
            pid
            for pid, stat in stats
            if stat and stat[0] != "Z" and int(stat[19]) >= began and (int(stat[3]) == leader or pid == leader)
        ]

    if start_time(leader) not in (0, began):
        # The number was given out again: the session of that name is another one's.
        return 0
    return _kill(alive, lambda: None, KILL_S)


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_descendants(
    root: int, reap: Callable[[], object], patience_s: float = KILL_S, spared: Collection[int] = ()
) -> int:
    """Kills until nothing is left below `root` (a fork bomb takes several rounds); how many are still there.

    `reap` collects the dead that are children of this process.
    """
    return _kill(lambda: descendants(root, spared), reap, patience_s)


def _kill(find: Callable[[], list[int]], reap: Callable[[], object], patience_s: float) -> int:
    until = time.monotonic() + patience_s
    while (alive := find()) and time.monotonic() < until:
        # Stopped first, they cannot fork while the others die.
        send(alive, signal.SIGSTOP)
        send(find(), signal.SIGKILL)
        reap()
        pause(0.01)
    return len(alive)
