"""Three daemons, a cron line and twenty `clockmill run JOB --slot` at the same instant: one run each."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

from checker import check, settle
from world import World, world

#: The loader has the command in memory and forks: twenty interpreters would not start in the same second.
LOADER = """
import os, sys, time
import clockmill.cli, clockmill.cli.run, clockmill.perform, db.ledger, db.outputs
at, count, job = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
children = []
for n in range(count):
    pid = os.fork()
    if not pid:
        os.setsid()
        time.sleep(max(0.0, at - time.time()))
        sys.argv = ["clockmill", "run", job, "--slot"]
        try:
            clockmill.cli.main()
        except SystemExit as e:
            os._exit(e.code or 0)
        finally:
            os._exit(99)
    children.append(pid)
print(" ".join(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) for pid in children))
"""
#: Done or done already, running elsewhere.
FINE = {0, 75}


def rounds(kind: str, count: int, hands: int = 20) -> dict[str, Any]:
    """Each round is one slot of `slow`; the jobs of the daemons go on beside it."""
    codes: Counter[int] = Counter()
    with world(kind) as made:
        made.start(3)
        for n in range(count):
            now = time.time()
            # The next slot that leaves the loader time to load.
            at = (int(now + 3) // 7 + 1) * 7
            nap = threading.Thread(target=_oversleep, args=(made, at))
            if n % 2:
                nap.start()
            codes.update(_all_at_once(made, at, hands + 1))
            if n % 2:
                nap.join()
        cut = settle(made, 90)
        found = check(made, cut)
        by_hand = made.query("SELECT count(*) FROM runs WHERE job = 'slow' AND state = 'succeeded'")[0][0]
    found["violations"] += [f"{n} commands ended with {code}" for code, n in codes.items() if code not in FINE]
    if sum(codes.values()) != count * (hands + 1):
        found["violations"].append(f"{sum(codes.values())} commands ended, {count * (hands + 1)} were started")
    return found | {
        "rounds": count,
        "commands": sum(codes.values()),
        "ran": codes[0],
        "busy": codes[75],
        "runs": by_hand,
    }


def _oversleep(made: World, at: float) -> None:
    """The daemons are half a second late, so that one of the commands is the first."""
    time.sleep(max(0.0, at - 0.2 - time.time()))
    for daemon in made.daemons:
        daemon.send(signal.SIGSTOP)
    time.sleep(0.7)
    for daemon in made.daemons:
        daemon.send(signal.SIGCONT)


def _all_at_once(made: World, at: float, count: int) -> list[int]:
    words = [sys.executable, "-c", LOADER, str(at), str(count), "slow"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=made.environment, cwd=made.folder
    ) as loader:
        try:
            out, err = loader.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.kill(loader.pid, signal.SIGKILL)
            return []
    if "Traceback" in err:
        print(err[-2000:], file=sys.stderr)
    return [int(code) for code in out.split()]
