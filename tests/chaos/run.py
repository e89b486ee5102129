"""Plays the scenarios and prints what they came to.

    python tests/chaos/run.py [--profile short|long] [--only NAME]... [--database KIND]... [--json FILE]

Exit code 1 when a promise was broken. The numbers of the last long run are in docs/reliability.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import faults
import ill_jobs
import kills
import outages
import redis_faults
import same_second
import stops
from world import KINDS

Scenario = Callable[[str], dict[str, Any]]

#: name -> (databases, short, long)
SCENARIOS: dict[str, tuple[tuple[str, ...], Scenario, Scenario]] = {
    "kill": (KINDS, partial(kills.at_random, kills=20), partial(kills.at_random, kills=300)),
    "points": (KINDS, partial(kills.at_points, rounds=1), partial(kills.at_points, rounds=5)),
    "commit": (KINDS, partial(faults.at_commit, jobs=20, slots=2), partial(faults.at_commit, jobs=100, slots=5)),
    "stop": (KINDS, partial(stops.longer_than_the_lease, stops=3), partial(stops.longer_than_the_lease, stops=40)),
    "ill": (
        ("sqlite",),
        partial(ill_jobs.beside, rounds=1, printed=200_000_000),
        partial(ill_jobs.beside, rounds=3, printed=10_000_000_000),
    ),
    "same-second": (KINDS[:2], partial(same_second.rounds, count=2), partial(same_second.rounds, count=100)),
    "restart": (("postgresql",), partial(outages.restarts, count=2), partial(outages.restarts, count=10)),
    "redis": (("sqlite",), partial(redis_faults.faults, each=2), partial(redis_faults.faults, each=20)),
    "frozen": (("postgresql",), partial(outages.frozen, count=1), partial(outages.frozen, count=5)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=("short", "long"), default="short")
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS))
    parser.add_argument("--database", action="append", choices=KINDS)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    asked = parser.parse_args()
    results = []
    for name, (kinds, short, long) in SCENARIOS.items():
        for kind in kinds:
            if (asked.only and name not in asked.only) or (asked.database and kind not in asked.database):
                continue
            results.append(_play(name, kind, short if asked.profile == "short" else long))
            if asked.json:
                asked.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    broken = [result for result in results if result["violations"]]
    print(f"{len(results)} scenarios, {len(broken)} with broken promises")
    return 1 if broken else 0


def _play(name: str, kind: str, scenario: Scenario) -> dict[str, Any]:
    print(f"{name} on {kind} ...", flush=True)
    began = time.monotonic()
    try:
        found = scenario(kind)
    except TimeoutError as e:
        found = {"violations": [str(e)]}
    numbers = {key: value for key, value in found.items() if key != "violations"}
    print(f"   {time.monotonic() - began:.0f} s  " + "  ".join(f"{k}={v}" for k, v in numbers.items()), flush=True)
    for violation in found["violations"][:20]:
        print(f"   BROKEN {violation}", flush=True)
    return {"scenario": name, "database": kind, "seconds": round(time.monotonic() - began), **found}


if __name__ == "__main__":
    sys.exit(main())
