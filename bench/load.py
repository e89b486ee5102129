"""`clockmill load`: ratings of MovieLens 20M's shape from Parquet and CSV into SQLite, beside sqlite3's executemany.

    python bench/load.py [--rows 20000000] [--csv-rows 2000000] [--shuffled]
    python bench/load.py --check    # small, without times: only that both leave the same rows

Each load is a fresh process. While it runs, another process asks for the write lock again and again: the longest wait
is shown. The peer writes ready tuples, in key order, into the same table of its own file, in one transaction.
"""

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

PRODUCTS = 26_744
#: Rows of a user in the mean, as in MovieLens 20M.
PER_USER = 144
CHECK_ROWS = 30_000
TABLE = (
    "CREATE TABLE ratings (user_id BIGINT NOT NULL, product_id BIGINT NOT NULL, value DOUBLE NOT NULL, "
    "at VARCHAR(32), PRIMARY KEY (user_id, product_id)) WITHOUT ROWID"
)
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536")
#: Asks for the write lock of a file until its standard input ends; prints the longest wait in milliseconds.
PROBE = """
import sqlite3, sys, threading, time
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
longest = 0.0
while not ended.wait(0.01):
    began = time.perf_counter()
    held.execute("BEGIN IMMEDIATE")
    longest = max(longest, time.perf_counter() - began)
    held.execute("ROLLBACK")
print(round(longest * 1000))
"""


def ratings(rows: int, shuffled: bool) -> pa.Table:
    """Distinct pairs of user and product, in key order unless shuffled, with fixed seeds."""
    random = np.random.default_rng(20)
    pairs = random.integers(0, max(1, rows // PER_USER) * PRODUCTS, int(rows * 1.01))
    pairs = np.unique(pairs)[:rows]
    if shuffled:
        random.shuffle(pairs)
    values = random.integers(1, 11, len(pairs)) / 2
    return pa.table({"user_id": pairs // PRODUCTS, "product_id": pairs % PRODUCTS, "value": values})


def load(file: Path, home: Path) -> tuple[float, float, int, float]:
    """Seconds of the command, of the processor within it, the longest wait for the lock in ms, peak memory in MB."""
    command = [str(Path(sys.executable).with_name("clockmill"))]
    environment = {**os.environ, "CLOCKMILL_HOME": str(home)}
    subprocess.run([*command, "db", "upgrade"], env=environment, check=True, capture_output=True)
    probe = subprocess.Popen(
        [sys.executable, "-c", PROBE, str(home / "var" / "clockmill.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    began, spent = time.perf_counter(), processor()
    subprocess.run([*command, "load", "ratings", str(file)], env=environment, check=True, capture_output=True)
    seconds, spent = time.perf_counter() - began, processor() - spent
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return seconds, spent, int(probe.communicate()[0]), peak


def processor() -> float:
    """Seconds of the processor that ended children took: other work on a shared machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def raw(table: pa.Table, path: Path) -> tuple[float, float]:
    """Seconds of the driver alone, and of the processor."""
    table = table.sort_by([("user_id", "ascending"), ("product_id", "ascending")])
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(TABLE)
    seconds = spent = 0.0
    connection.execute("BEGIN IMMEDIATE")
    for batch in table.to_batches(1_000_000):
        rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        began, used = time.perf_counter(), time.process_time()
        connection.executemany("INSERT INTO ratings (user_id, product_id, value) VALUES (?, ?, ?)", rows)
        seconds, spent = seconds + time.perf_counter() - began, spent + time.process_time() - used
    began, used = time.perf_counter(), time.process_time()
    connection.execute("COMMIT")
    seconds, spent = seconds + time.perf_counter() - began, spent + time.process_time() - used
    connection.close()
    return seconds, spent


def fingerprint(path: Path) -> tuple[int, ...]:
    connection = sqlite3.connect(path)
    query = (
        "SELECT count(*), sum(user_id), sum(product_id), sum(value * 2), sum(user_id % 997 * product_id) FROM ratings"
    )
    found = connection.execute(query).fetchone()
    connection.close()
    return tuple(map(int, found))


def measure(table: pa.Table, folder: Path, form: str, check: bool) -> None:
    home = folder / form
    (home / "var").mkdir(parents=True)
    file = home / f"ratings.{form}"
    if form == "csv":
        csv.write_csv(table, file)
    else:
        parquet.write_table(table, file)
    seconds, spent, wait, peak = load(file, home)
    peer, used = raw(table, home / "raw.db")
    if fingerprint(home / "var" / "clockmill.db") != fingerprint(home / "raw.db"):
        sys.exit(f"{form}: clockmill loaded other rows than the driver: nothing to compare")
    rows = table.num_rows
    if check:
        print(f"{form}: both ways leave the same {rows} rows")
        return
    print(f"{form}: {rows} rows, ratio {peer / seconds:.2f} by the wall, {used / spent:.2f} by the processor")
    print(f"  clockmill load         {seconds:5.1f} s  {rows / seconds:9,.0f} rows/s  processor {spent:5.1f} s")
    print(f"  sqlite3, ready tuples  {peer:5.1f} s  {rows / peer:9,.0f} rows/s  processor {used:5.1f} s")
    print(f"  longest wait for the lock beside it {wait} ms; peak memory {peak:.0f} MB")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=20_000_000, help="of Parquet")
    options.add_argument("--csv-rows", type=int, default=2_000_000)
    options.add_argument("--shuffled", action="store_true", help="not in key order, as most files are not")
    options.add_argument("--check", action="store_true")
    chosen = options.parse_args()
    if chosen.check:
        chosen.rows = chosen.csv_rows = CHECK_ROWS
    with tempfile.TemporaryDirectory() as folder:
        for form, rows in (("parquet", chosen.rows), ("csv", chosen.csv_rows)):
            if rows:
                measure(ratings(rows, chosen.shuffled or chosen.check), Path(folder), form, chosen.check)


if __name__ == "__main__":
    main()
