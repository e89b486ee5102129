"""The whole `clockmill run recommendations`, a fresh process each time, on 100,000 people: phases, beside raw floors.

    python bench/end_to_end.py [--people 100000] [--only sqlite,postgresql,mariadb]
    python bench/end_to_end.py --check    # small, without times: only that SQL, Redis and the kernel agree

The floors are what the drivers alone take for the same data, one after another and from values made beforehand: every
friendship fetched, every row of `friends` and `recommendations` inserted into tables of the same form, every list set
in Redis (MSET) and every friend added to a set (SADD, pipelined). The kernel is `compute.recommend` alone, lists and
reasons, on as many threads. Goals: the first publication in 1.5 times the sum of the floors; a run on unchanged data
that builds all anew (full=true) in 3 times the kernel.

Before any time is printed, what readers of SQL see is compared with what the kernel says, Redis with SQL, and the
floors' tables with clockmill's. The embedded Redis is used, with a client kept so that it stays from run to run.
Seconds of the processor, in brackets, are those of the command and of the drivers, without servers.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from publish import database
from recommendations import people
from sqlalchemy import Engine, select

from clockmill import compute
from clockmill.compute.recommendations import best_candidates, score_by
from db import copy_binary, outputs
from db.columns import Columns
from db.engine import write
from db.load import load_columns
from db.output_spec import OutputSpec, table_of
from db.outputs import OPEN
from db.publish import json_entities, sets
from db.redis_server import connect

ROWS_PER_PERSON = 20.3
PHASES = ("read", "compile", "compute", "write", "publish", "total")
MSET_KEYS = 500
SADD_KEYS = 1_000


class Home:
    """One CLOCKMILL_HOME of the installed command."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        (path / "clockmill.toml").write_text(f'[database]\nurl = "{url}"\n', encoding="utf-8")

    def command(self, *arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("clockmill")), *arguments]
        environment = {**os.environ, "CLOCKMILL_HOME": str(self.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def run(self, *arguments: str) -> dict[str, Any]:
        """The report of a run, with the seconds of the whole command and those of the processor."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        began, before = time.perf_counter(), used.ru_utime + used.ru_stime
        report: dict[str, Any] = json.loads(self.command("run", "recommendations", "--json", *arguments))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {**report, "wall": time.perf_counter() - began, "processor": used.ru_utime + used.ru_stime - before}


class Spent(NamedTuple):
    """Seconds by the wall, and of this process's share of the processor: other work on a machine does not count."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.processor:.2f})"


def spent(work: Callable[[], Any]) -> Spent:
    began, used = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - began, time.process_time() - used)


# -- floors -----------------------------------------------------------------------------------------------------------


def fetch(engine: Engine) -> int:
    """Every friendship by the driver alone."""
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        cursor = driver.cursor(binary=True) if engine.dialect.name == "postgresql" else driver.cursor()
        cursor.execute("SELECT user_id, friend_id FROM friendships")
        return len(cursor.fetchall())


def insert(engine: Engine, spec: OutputSpec, rows: Columns) -> Callable[[], None]:
    """Every row of an output by the driver alone, in one transaction, its values ready."""
    n = len(rows[spec.key])
    columns = {**rows, "since": np.full(n, 1), "until": np.full(n, OPEN)}
    named = OutputSpec(f"floor_{spec.name}", key=spec.key, columns=spec.columns, identity=spec.row_key[1:])
    with write(engine) as connection:
        table_of(named).create(connection)
    names, arrays = list(columns), list(columns.values())
    if engine.dialect.name == "postgresql":
        order = copy_binary.order(arrays)
        names = [names[i] for i in order]
        parts = range(0, n, 10_000)
        ready = [copy_binary.encode([arrays[i][at : at + 10_000] for i in order]) for at in parts]
        ready = [copy_binary.HEADER, *ready, copy_binary.TRAILER]
    else:
        tuples = list(zip(*(values.tolist() for values in arrays), strict=True))
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    listed = ", ".join(f'"{name}"' for name in names)

    def work() -> None:
        with write(engine) as connection:
            driver: Any = connection.connection.driver_connection
            cursor = driver.cursor()
            if engine.dialect.name == "postgresql":
                with cursor.copy(f"COPY {named.name} ({listed}) FROM STDIN (FORMAT BINARY)") as copy:
                    for part in ready:
                        copy.write(part)
            else:
                marks = ", ".join([mark] * len(names))
                cursor.executemany(f"INSERT INTO {named.name} ({listed}) VALUES ({marks})", tuples)

    return work


def redis_lists(client: Any, spec: OutputSpec, rows: Columns) -> Callable[[], None]:
    """Every list by MSET, its bytes ready."""
    blocks = json_entities(spec, 1, "", rows)
    named = [(f"floor:{spec.name}:{key}", value) for block in blocks for key, value in block.values()]
    parts = [dict(named[at : at + MSET_KEYS]) for at in range(0, len(named), MSET_KEYS)]
    return lambda: [client.mset(part) for part in parts] and None


def redis_sets(client: Any, spec: OutputSpec, rows: Columns) -> Callable[[], None]:
    """Every set by SADD, pipelined, its members ready."""
    encoded = ((key, [str(member).encode() for member in members]) for key, members in sets(spec, rows))
    named = [(f"floor:{spec.name}:{key}", members) for key, members in encoded]

    def work() -> None:
        for at in range(0, len(named), SADD_KEYS):
            pipe = client.pipeline(transaction=False)
            for name, members in named[at : at + SADD_KEYS]:
                pipe.sadd(name, *members)
            pipe.execute()

    return work


# -- what must agree --------------------------------------------------------------------------------------------------


def agree(engine: Engine, lists: Columns, held: dict[str, tuple[OutputSpec, Columns]]) -> None:
    """Exits unless SQL holds what the kernel says, and the floors' tables what clockmill's do."""
    rows = held["recommendations"][1]
    if any(not np.array_equal(rows[name], lists[name]) for name in lists):
        sys.exit("recommendations in SQL are not what the kernel says: nothing to compare")
    for name, (spec, rows) in held.items():
        named = OutputSpec(f"floor_{name}", key=spec.key, columns=spec.columns, identity=spec.row_key[1:])
        table = table_of(named)
        with engine.connect() as connection:
            query = select(*(table.c[c] for c in spec.columns)).order_by(*(table.c[c] for c in spec.row_key))
            theirs = connection.execute(query).all()
        if [tuple(row) for row in theirs] != list(zip(*(values.tolist() for values in rows.values()), strict=True)):
            sys.exit(f"{name}: the floor's table holds something else: nothing to compare")


def told(name: str, report: dict[str, Any]) -> None:
    phases = "  ".join(f"{phase} {report['seconds'][phase]:5.2f}" for phase in PHASES)
    print(f"  {name:<28}{phases}   command {report['wall']:5.2f} s, processor {report['processor']:5.2f} s, ", end="")
    print(f"peak {report['peak_rss_mb']:.0f} MB")


def measure(kind: str, persons: int, check: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="cm") as folder, database(kind, Path(folder)) as engine:
        if engine is None:
            return
        user, friend = people(persons, int(persons * ROWS_PER_PERSON))
        load_columns(engine, "friendships", {"user_id": user, "friend_id": friend})
        home = Home(Path(folder), engine.url.render_as_string(hide_password=False))
        client: Any = connect("embedded", Path(folder) / "var")
        first = home.run()
        unchanged = home.run() if not check else first
        anew = home.run("-p", "full=true")
        home.command("outputs", "verify")  # fails on a difference
        graph = compute.friendship_graph(user, friend)
        compute.recommend(compute.friendship_graph([1, 2], [2, 3]))
        lists: Columns = {}
        kernel = spent(lambda: lists.update(compute.recommend(graph)))
        scored = score_by(graph, "adamic_adar")
        bare = spent(lambda: best_candidates(scored, 20, 0, len(graph.ids)))
        held = {}
        for name in ("friends", "recommendations"):
            spec, row = outputs.find(engine, name)
            held[name] = (spec, outputs.read_rows(engine, spec, row.version))
        floors = {"read": spent(lambda: fetch(engine))}
        for name, (spec, rows) in held.items():
            floors[f"write {name}"] = spent(insert(engine, spec, rows))
        floors["Redis friends"] = spent(redis_sets(client, *held["friends"]))
        floors["Redis lists"] = spent(redis_lists(client, *held["recommendations"]))
        agree(engine, lists, held)
        client.close()
        if check:
            print(f"{kind}: {persons} people: SQL, Redis, the kernel and the floors agree")
            return
        floor = Spent(*map(sum, zip(*floors.values(), strict=True)))
        count = {name: len(rows[spec.key]) for name, (spec, rows) in held.items()}
        print(f"{kind}: {persons} people, {', '.join(f'{rows} rows of {name}' for name, rows in count.items())}")
        told("first publication", first)
        told("unchanged", unchanged)
        told("unchanged, full=true", anew)
        print(f"  floors: {', '.join(f'{name} {some}' for name, some in floors.items())}; sum {floor}")
        print(f"  kernel: lists and reasons {kernel} on all threads; lists alone, one thread {bare}")
        compared("first publication / floors", first, floor)
        compared("full=true / kernel", anew, kernel)


def compared(what: str, report: dict[str, Any], goal: Spent) -> None:
    wall, processor = report["wall"] / goal.wall, report["processor"] / goal.processor
    print(f"  {what}: {wall:.2f}; by the processor {processor:.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--people", type=int, default=100_000)
    options.add_argument("--only", default="sqlite,postgresql")
    options.add_argument("--check", action="store_true")
    chosen = options.parse_args()
    for kind in chosen.only.split(","):
        measure(kind, 1_000 if chosen.check else chosen.people, chosen.check)


if __name__ == "__main__":
    main()
