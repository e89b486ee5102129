"""What one attempt may use: memory for all its processes together, open files for each of them.

Memory is what is resident, watched by the keeper: that is what a host runs out of. RLIMIT_AS would count what numpy and
its like only reserve, and every process of a job by itself. A single leap beyond twice the limit is refused by the
kernel, so that nothing can outrun the watch.
"""

import os
import resource

from clockmill.executors import process_tree
from clockmill.executors.order import Order

#: How often the keeper looks how much is held.
WATCH_S = 0.1
#: One process may ask for so much more than it holds to begin with, in limits.
LEAP = 2
PAGE = os.sysconf("SC_PAGE_SIZE")


def apply(order: Order) -> None:
    """Limits this process and what it starts; called in the job's process before the job begins."""
    if order.open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (order.open_files, order.open_files))
    if order.memory:
        most = _data_bytes() + LEAP * order.memory
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _data_bytes() -> int:
    """Private memory of this process, touched or not: what RLIMIT_DATA counts."""
    try:
        return int((process_tree.PROC / "self/statm").read_text().split()[5]) * PAGE
    except (OSError, ValueError):
        return 0


def exceeded(root: int, limit: int) -> bool:
    """Whether what descends from `root` holds more than `limit` bytes.

    Pages shared with others are counted in full first, which is cheap, and by shares only when that is too much.
    """
    pids = process_tree.below(root)
    return sum(map(_resident, pids)) > limit and sum(map(_share, pids)) > limit


def _resident(pid: int) -> int:
    try:
        return int((process_tree.PROC / str(pid) / "statm").read_text().split()[1]) * PAGE
    except (OSError, ValueError):
        return 0


def _share(pid: int) -> int:
    try:
        lines = (process_tree.PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return _resident(pid)
