"""How fast a source becomes arrays, beside the driver alone fetching the same rows as tuples, and read again unchanged.

    python bench/read.py [--rows 2000000] [--rounds 3] [--only sqlite,postgresql,mariadb]
    python bench/read.py --check    # small, without times: only that arrays, driver and snapshot agree

Friendships with integer ids, then with text ids, in clockmill's own table. The driver: fetchall of sqlite3, of PyMySQL,
of psycopg with binary answers, and binary COPY taken row by row as psycopg hands it out. Best of some rounds, in
seconds of the processor of this process: what a server takes, or other work on the machine, is not in them.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from publish import database
from sqlalchemy import Engine

from db import sources
from db.arrays import Columns
from db.load import load_columns
from db.sources import SourceSpec, read

SPEC = SourceSpec("friendships")
QUERY = "SELECT user_id, friend_id FROM friendships"
CHECK_ROWS = 20_000


def friendships(rows: int, as_text: bool) -> dict[str, Any]:
    random = np.random.default_rng(5)
    people = max(rows // 20, 10)
    pairs = np.unique(random.integers(0, people * people, rows))
    columns = {"user_id": pairs // people, "friend_id": pairs % people}
    return {name: [f"user-{n}" for n in ids.tolist()] for name, ids in columns.items()} if as_text else columns


def processor(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def fetchall(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        cursor = driver.cursor(binary=True) if engine.dialect.name == "postgresql" else driver.cursor()
        cursor.execute(QUERY)
        return list(cursor.fetchall())


def copied(engine: Engine) -> int:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor().copy(f"COPY ({QUERY}) TO STDOUT (FORMAT BINARY)") as copy:
            return sum(map(len, copy))


def as_arrays(engine: Engine, folder: Path | None) -> Columns:
    return read(engine, SPEC, ["user_id", "friend_id"], folder=folder)


def agree(engine: Engine, folder: Path) -> None:
    driver = sorted(map(tuple, fetchall(engine)))
    for found in (as_arrays(engine, None), as_arrays(engine, folder), as_arrays(engine, folder)):
        if sorted(zip(found["user_id"].tolist(), found["friend_id"].tolist(), strict=True)) != driver:
            sys.exit("arrays and driver differ: nothing to compare")


def measure(kind: str, rows: int, rounds: int, as_text: bool, check: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as engine:
        if engine is None:
            return
        load_columns(engine, "friendships", friendships(rows, as_text))
        kept = Path(folder) / "snapshots"
        ids = "text ids" if as_text else "integer ids"
        if check:
            agree(engine, kept)
            print(f"{kind}, {ids}: arrays, driver and snapshot agree")
            return
        n = as_arrays(engine, kept).rows
        ways: dict[str, Callable[[], Any]] = {
            "the driver's fetchall": lambda: fetchall(engine),
            **({"binary COPY, bytes alone": lambda: copied(engine)} if engine.dialect.name == "postgresql" else {}),
            "arrays": lambda: as_arrays(engine, None),
            "arrays, unchanged since": lambda: as_arrays(engine, kept),
        }
        best = {way: min(processor(work) for _ in range(rounds)) for way, work in ways.items()}
        print(f"{kind}, {ids}: {n} rows")
        for way, spent in best.items():
            ratio = best["the driver's fetchall"] / spent
            print(f"  {way:<28}{spent:6.2f} s {n / spent:11,.0f} rows/s   ratio {ratio:.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=2_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="sqlite,postgresql,mariadb")
    options.add_argument("--check", action="store_true")
    chosen = options.parse_args()
    if chosen.check:
        chosen.rows, sources.FEWEST_KEPT = CHECK_ROWS, 1
    for kind in chosen.only.split(","):
        for as_text in (False, True):
            measure(kind, chosen.rows, chosen.rounds, as_text, chosen.check)


if __name__ == "__main__":
    main()
