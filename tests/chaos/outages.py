"""A database server that dies and comes back, and one that stops answering."""

import time
from typing import Any

from checker import check, settle
from servers import Postgres
from world import LEASE_S, Watcher, World, world


def restarts(kind: str, count: int) -> dict[str, Any]:
    """Immediate stops under load; the daemons stay."""
    server = Postgres()
    try:
        with world(kind, url=server.url) as made:
            made.start(3)
            back = []
            with Watcher(made) as watcher:
                for n in range(count):
                    time.sleep(4)
                    server.stop_at_once()
                    time.sleep(0.5 + n % 4)
                    server.start()
                    back.append(_first_success(made))
                cut = settle(made, 120)
            found = check(made, cut)
            dead = [daemon for daemon in made.daemons if daemon.process.returncode]
    finally:
        server.close()
    found["violations"] += watcher.violations + [f"a daemon ended with {d.process.returncode}" for d in dead]
    return found | {"restarts": count, "first_success_max": round(max(back), 1)}


def _first_success(made: World) -> float:
    """Seconds until something succeeds again."""
    began = time.monotonic()
    before = time.time_ns() // 1000
    ended = "SELECT count(*) FROM runs WHERE state = 'succeeded' AND ended_us > :before"
    while time.monotonic() - began < 60:
        if made.query(ended, before=before) not in ([], [(0,)]):
            return time.monotonic() - began
        time.sleep(0.1)
    return 60.0


def frozen(kind: str, count: int) -> dict[str, Any]:
    """The server stops for longer than the lease: every job is killed before its lease ends, by the clock alone."""
    server = Postgres()
    try:
        with world(kind, url=server.url) as made:
            made.start(3)
            late: list[str] = []
            with Watcher(made) as watcher:
                for _ in range(count):
                    time.sleep(9)
                    server.freeze()
                    frozen_at = time.time()
                    time.sleep(2 * LEASE_S)
                    server.thaw()
                    late += _alive_beyond(made, frozen_at + LEASE_S, frozen_at + 2 * LEASE_S)
                cut = settle(made, 120)
            found = check(made, cut)
    finally:
        server.close()
    found["violations"] += watcher.violations + late
    return found | {"freezes": count, "lease_s": LEASE_S}


def _alive_beyond(made: World, lease_over: float, thawed: float) -> list[str]:
    """Jobs that still worked when every lease of before the freeze was over."""
    return [
        f"run {line['run']}, fence {line['fence']} worked {line['at'] - lease_over:.1f} s beyond its lease"
        for line in made.lines()
        if line["event"] == "alive" and lease_over < line["at"] < thawed
    ]
