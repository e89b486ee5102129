"""Plays the scenarios and prints what they came to.

    python -m tests.chaos.run --short                    a little of every kind, some minutes: the gate plays these
    python -m tests.chaos.run --long --json F --table F  hundreds of kills, hours of clocks; docs/reliability.md has it
    python -m tests.chaos.run --long --only NAME --database KIND

Exit code 1 when a promise was broken, or a scenario could not be played.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

import clocks
import cluster
import disks
import dividing
import faults
import hands
import ill_jobs
import kills
import leaders
import messages
import million
import outages
import patience
import redis_faults
import rolling
import same_second
import soak
import stops
from world import KINDS

Found = dict[str, Any]
Play = Callable[[str], Found]
SQLITE, POSTGRESQL, MARIADB = KINDS
#: Scenarios wait more than they work. The short ones share the machine, so many at once.
AT_ONCE = 3
#: A short one that takes longer hangs.
SHORT_S = 240


@dataclass(frozen=True)
class Scenario:
    """How one kind of violence is played: on which databases, in short and at length."""

    short: Play | None
    long: Play
    short_on: tuple[str, ...] = (SQLITE,)
    long_on: tuple[str, ...] = (SQLITE,)


SCENARIOS = {
    "kill": Scenario(
        partial(kills.at_random, kills=10),
        partial(kills.at_random, kills=300),
        short_on=(SQLITE, POSTGRESQL),
        long_on=(SQLITE, POSTGRESQL),
    ),
    "kill-mariadb": Scenario(None, partial(kills.at_random, kills=50), long_on=(MARIADB,)),
    "kill-30s": Scenario(None, partial(kills.at_random, kills=30, lease_s=30, pause_s=(4, 8)), long_on=(POSTGRESQL,)),
    "points": Scenario(partial(kills.at_points, rounds=1), partial(kills.at_points, rounds=5), (POSTGRESQL,), KINDS),
    "commit": Scenario(
        partial(faults.at_commit, jobs=10, slots=2), partial(faults.at_commit, jobs=100, slots=5), (MARIADB,), KINDS
    ),
    "stop": Scenario(
        partial(stops.longer_than_the_lease, stops=2),
        partial(stops.longer_than_the_lease, stops=40),
        (POSTGRESQL,),
        (SQLITE, POSTGRESQL),
    ),
    "ill": Scenario(
        partial(ill_jobs.beside, rounds=1, printed=200_000_000),
        partial(ill_jobs.beside, rounds=3, printed=10_000_000_000),
    ),
    "same-second": Scenario(
        partial(same_second.rounds, count=2), partial(same_second.rounds, count=100), long_on=(SQLITE, POSTGRESQL)
    ),
    "restart": Scenario(
        partial(outages.restarts, count=2), partial(outages.restarts, count=10), (POSTGRESQL,), (POSTGRESQL,)
    ),
    "frozen": Scenario(None, partial(outages.frozen, count=5), long_on=(POSTGRESQL,)),
    "redis": Scenario(partial(redis_faults.faults, each=1), partial(redis_faults.faults, each=20)),
    "clock": Scenario(
        partial(clocks.set_back_and_forth, dwell_s=3, only=["1970"]),
        partial(clocks.set_back_and_forth, dwell_s=20),
        long_on=(SQLITE, POSTGRESQL),
    ),
    "clock-years": Scenario(None, partial(clocks.set_back_and_forth, dwell_s=40, years=10)),
    "suspend": Scenario(clocks.suspend, clocks.suspend, (POSTGRESQL,), (SQLITE, POSTGRESQL)),
    "disk": Scenario(
        partial(disks.full, times=1, dwell_s=3, places=("database",)), partial(disks.full, times=3, dwell_s=15)
    ),
    "leaders": Scenario(
        partial(leaders.forced, seconds=8), partial(leaders.forced, seconds=60), long_on=(SQLITE, POSTGRESQL)
    ),
    "rolling": Scenario(
        partial(rolling.restarts, count=3), partial(rolling.restarts, count=20), long_on=(SQLITE, POSTGRESQL)
    ),
    "upgrade": Scenario(
        partial(rolling.upgraded, seconds=5), partial(rolling.upgraded, seconds=30), (POSTGRESQL,), KINDS
    ),
    "messages": Scenario(
        partial(messages.violence, events=600, cuts=1, kills=1),
        partial(messages.violence, events=10_000, cuts=16, kills=4),
        long_on=KINDS,
    ),
    "hands": Scenario(None, partial(hands.killed, rounds=5), long_on=(POSTGRESQL,)),
    "shards": Scenario(None, partial(dividing.divided, kills=30), long_on=KINDS),
    "shards-celery": Scenario(None, partial(dividing.divided, kills=30, carried=True), long_on=(POSTGRESQL,)),
    "patience": Scenario(patience.outlasted, patience.outlasted, long_on=(SQLITE, POSTGRESQL)),
    "cluster": Scenario(None, partial(cluster.leaders_killed, events=15_000, kills=6), long_on=(POSTGRESQL,)),
    "million": Scenario(None, partial(million.published, people=1_000_000)),
    "soak": Scenario(None, partial(soak.soaked, seconds=600)),
    # By hand alone: --only soak-hour --database sqlite.
    "soak-hour": Scenario(None, partial(soak.soaked, seconds=3600), long_on=()),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--short", action="store_true")
    length.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS))
    parser.add_argument("--database", action="append", choices=KINDS)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--table", type=Path, help="and here, as a table in Markdown")
    asked = parser.parse_args()
    # Ended from outside, a scenario still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    results = []
    for result in _short(asked) if asked.short else _long(asked):
        results.append(result)
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if asked.table:
            asked.table.write_text(table(results), encoding="utf-8")
    broken = sum(bool(result["violations"]) for result in results)
    print(f"{len(results)} scenarios in {time.monotonic() - began:.0f} s, {broken} with broken promises")
    return 1 if broken or not results else 0


def _chosen(asked: argparse.Namespace) -> Iterator[tuple[str, str, Play]]:
    for name, scenario in SCENARIOS.items():
        play = scenario.short if asked.short else scenario.long
        kinds = scenario.short_on if asked.short else scenario.long_on
        if asked.only and asked.database:
            kinds = tuple(asked.database)
        for kind in kinds:
            if play and name in (asked.only or SCENARIOS) and kind in (asked.database or KINDS):
                yield name, kind, play


def _long(asked: argparse.Namespace) -> Iterator[Found]:
    """One after the other: each has the machine to itself."""
    for name, kind, play in _chosen(asked):
        yield _play(name, kind, play)


def _short(asked: argparse.Namespace) -> Iterator[Found]:
    """Several at once, each in a process of its own; one alone, here."""
    chosen = list(_chosen(asked))
    if len(chosen) == 1:
        yield _play(*chosen[0])
        return
    with ThreadPoolExecutor(AT_ONCE) as together:
        yield from together.map(lambda one: _apart(one[0], one[1]), chosen)


def _apart(name: str, kind: str) -> Found:
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        words = [sys.executable, "-m", "tests.chaos.run", "--short", "--only", name, "--database", kind]
        command = ["timeout", "--kill-after=20", str(SHORT_S), *words, "--json", file.name]
        folder = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print("\n".join(done.stdout.splitlines()[:-1]), flush=True)
        told = Path(file.name).read_text()
    if told:
        return dict(json.loads(told)[0])
    failed = f"exit code {done.returncode} after {time.monotonic() - began:.0f} s, and no numbers"
    print(f"   BROKEN {name} on {kind}: {failed}", flush=True)
    return {"scenario": name, "database": kind, "seconds": 0, "violations": [failed]}


def _play(name: str, kind: str, scenario: Play) -> Found:
    print(f"{name} on {kind} ...", flush=True)
    began = time.monotonic()
    try:
        found = scenario(kind)
    except TimeoutError as e:
        found = {"violations": [str(e)]}
    except Exception as e:
        # The others are to be played all the same; this one has proved nothing.
        traceback.print_exc()
        found = {"violations": [f"the scenario itself failed: {type(e).__name__}: {e}"]}
    print(f"   {time.monotonic() - began:.0f} s  {numbers(found)}", flush=True)
    for violation in found["violations"][:20]:
        print(f"   BROKEN {violation}", flush=True)
    return {"scenario": name, "database": kind, "seconds": round(time.monotonic() - began), **found}


def numbers(found: Found) -> str:
    kept = {key: value for key, value in found.items() if key not in ("scenario", "database", "seconds", "violations")}
    return ", ".join(f"{key} {value}" for key, value in kept.items())


def table(results: list[Found]) -> str:
    rows = ["| scenario | database | s | broken | what it came to |", "|---|---|---|---|---|"]
    for found in results:
        place = f"| {found['scenario']} | {found['database']} | {found['seconds']} | {len(found['violations'])} |"
        rows.append(f"{place} {numbers(found)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
