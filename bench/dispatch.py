"""Jobs that do nothing: how many a second are sent, run and recorded, and how long after sending one starts.

    python bench/dispatch.py                       every system on one core, a table with ratios; needs [bench] extras,
                                                   Redis and PostgreSQL on loopback
    python bench/dispatch.py --only clockmill-thread-sqlite huey-sqlite
    python bench/dispatch.py --check               clockmill alone, a few runs, to see that it works

Every system sends one job after the other from a process of its own, without batches, to a worker that runs already;
both share one core. The clock stops when the last job has run and, for clockmill, the ledger has every run as
`succeeded`. SQLite is synchronous = FULL for everybody. A job notes when it was sent and when it started; commands do
not know the first, so theirs is no latency.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from dispatch_peers import PEERS, System

#: A job's mark: when it was sent and when it started.
MARK = struct.Struct("dd")
#: Sent in a row for throughput; sent one by one, so far apart, for latency.
JOBS, LONELY, APART_S = 2_000, 200, 0.02
#: The same for those that need longer than that for one job.
SLOW = {"rq-fork", "clockmill-process-sqlite", "clockmill-command-sqlite"}
SLOW_LONELY, SLOW_APART_S = 60, 0.15
#: Slow systems get fewer, so that the whole takes minutes.
FEWER = {"rq-fork": 8, "procrastinate": 4, "clockmill-command-sqlite": 4, "clockmill-process-sqlite": 4}
PATIENCE_S = 300.0
#: What is compared with what.
RATIOS = (
    ("clockmill-thread-sqlite", "huey-sqlite", 1.0),
    ("clockmill-thread-sqlite", "apscheduler-sqlite", None),
    ("clockmill-thread-postgresql", "procrastinate", 5.0),
    ("clockmill-process-sqlite", "rq-fork", 3.0),
)
LINE = "{:28} {per_s:8.0f} jobs/s   p50 {p50_ms:7.1f} ms   p99 {p99_ms:7.1f} ms"
#: Databases and their journals have their size before anything is measured.
WARM_UP = 400


class Track:
    """The file of marks that every job of one measurement appends to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "marks"
        self.path.touch()

    def count(self) -> int:
        return self.path.stat().st_size // MARK.size

    def late_ms(self) -> list[float]:
        return sorted((began - sent) * 1e3 for sent, began in MARK.iter_unpack(self.path.read_bytes()))

    def clear(self) -> None:
        os.truncate(self.path, 0)


def measure(system: System, jobs: int, lonely: int, warm_up: int = WARM_UP) -> dict[str, float]:
    """jobs/s end to end, and milliseconds from sending to starting under little load."""
    with tempfile.TemporaryDirectory() as folder:
        track = Track(Path(folder))
        environment = {**os.environ, **system.environment(Path(folder)), "MARKS": str(track.path)}
        environment["PYTHONPATH"] = str(Path(__file__).parent)
        system.prepare(Path(folder), environment)
        log = Path(folder, "worker.log")
        with log.open("w") as out:
            worker = subprocess.Popen(system.worker(Path(folder)), env=environment, stdout=out, stderr=out, cwd=folder)
        try:
            send(system, folder, environment, warm_up, 0.0)
            until(lambda: track.count() >= warm_up, worker, log)
            track.clear()
            send(system, folder, environment, lonely, SLOW_APART_S if system.name in SLOW else APART_S)
            until(lambda: track.count() >= lonely, worker, log)
            late = track.late_ms()
            track.clear()
            began = time.monotonic()
            send(system, folder, environment, jobs, 0.0)
            sent = warm_up + lonely + jobs
            until(lambda: track.count() >= jobs and system.all_recorded(Path(folder), sent), worker, log)
            took = time.monotonic() - began
        finally:
            worker.terminate()
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
            system.clean()
    return {"per_s": jobs / took, "p50_ms": late[len(late) // 2], "p99_ms": late[int(len(late) * 0.99)]}


def send(system: System, folder: str, environment: dict[str, str], count: int, apart_s: float) -> None:
    sender = [sys.executable, str(Path(__file__).parent / "dispatch_peers.py"), system.name, str(count), str(apart_s)]
    subprocess.run(sender, env=environment, cwd=folder, check=True)


def until(done, worker: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        if worker.poll() is not None or time.monotonic() > end:
            sys.exit(f"the worker did not finish:\n{log.read_text()[-3000:]}")
        time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS), help="these systems")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="a few jobs through clockmill's executors")
    options = parser.parse_args()
    if options.check:
        for name in ("clockmill-thread-sqlite", "clockmill-process-sqlite", "clockmill-command-sqlite"):
            measure(PEERS[name], 20, 5, warm_up=5)
        return
    # One core for producer and worker: what counts is work, not how many processors it is spread over.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found = {}
    for name in options.only:
        jobs = max(options.jobs // FEWER.get(name, 1), 50)
        found[name] = measure(PEERS[name], jobs, SLOW_LONELY if name in SLOW else LONELY)
        if not options.json:
            print(
                "{:28} {per_s:8.0f} jobs/s   p50 {p50_ms:7.1f} ms   p99 {p99_ms:7.1f} ms".format(name, **found[name]),
                flush=True,
            )
    ratios = {f"{a} / {b}": found[a]["per_s"] / found[b]["per_s"] for a, b, _ in RATIOS if a in found and b in found}
    if options.json:
        print(json.dumps({"systems": found, "ratios": ratios}))
        return
    for ours, peer, goal in RATIOS:
        if f"{ours} / {peer}" in ratios:
            print(f"{ours} / {peer}: {ratios[f'{ours} / {peer}']:.2f}" + (f" (goal {goal:g})" if goal else ""))


if __name__ == "__main__":
    main()
