"""Named points at which a test can have the process killed, as a power cut or the kernel would.

    CLOCKMILL_FAILPOINT=after-claim:3        kills whoever passes the point as the third one
    CLOCKMILL_FAILPOINT=after-claim:3:all    and with it the process that the variable was given to

Without the variable `reach` does nothing.
"""

import mmap
import os
import signal
from collections.abc import Callable

POINTS = (
    "before-materialise",
    "materialised",  # rows inserted and cursor moved, not committed
    "after-materialise",
    "before-claim",
    "claimed",  # not committed
    "after-claim",
    "effect-batch",  # rows of a new version committed, invisible
    "before-commit",  # everything done but COMMIT
    "after-commit",
    "redis-written",  # not yet noted in SQL
    "before-mark",  # the broker has confirmed, the outbox does not know yet
    "handled",  # an event's effect and its inbox row, not committed
    "after-handled",  # committed, not acknowledged
)


def _armed(setting: str) -> Callable[[str], None]:
    name, count, *whom = setting.split(":")
    family = [os.getpid()] if whom == ["all"] else []
    # Shared with every process forked from this one: their passages are counted together.
    passed = mmap.mmap(-1, 1)

    def reach(point: str) -> None:
        if point != name:
            return
        passed[0] = min(passed[0] + 1, 255)
        if passed[0] == int(count):
            for pid in (*family, os.getpid()):
                os.kill(pid, signal.SIGKILL)

    return reach


def _pass_by(point: str) -> None:
    pass


reach = _armed(os.environ["CLOCKMILL_FAILPOINT"]) if "CLOCKMILL_FAILPOINT" in os.environ else _pass_by
