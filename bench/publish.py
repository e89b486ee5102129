"""How fast rows reach SQL, and lists Redis, each beside the driver's own bulk path in the same run.

    python bench/publish.py [--rows 1000000] [--users 50000] [--rounds 3] [--only sqlite,postgresql,mariadb,redis]
    python bench/publish.py --check    # small, without times: only that both ways leave the same behind

SQL: a first version of recommendations, rows invisible until the end, in short transactions under the output's fence.
Beside it the driver alone, into the same table from values made beforehand, in one transaction: sqlite3's executemany,
psycopg's binary COPY of ready bytes, PyMySQL's executemany. Then every second list changes. CLOCKMILL_BENCH_POSTGRESQL
and CLOCKMILL_BENCH_MARIADB name other servers; one that does not answer is left out.

Redis: columns -> JSON -> mirror beside redis-py's MSET of the same bytes made beforehand. While one batch is on its way
the next is made, so this wants two free cores. Goal: a ratio of 0.6 for each.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from db import copy_binary, migrate
from db.columns import Columns
from db.engine import open_engine, write
from db.entities import FAST_ROWS_COLD, Shape, json_blocks, json_values
from db.mirror import Mirror
from db.output_spec import OutputSpec, create, drop, table_of
from db.outputs import OPEN, Build
from db.redis_server import connect

ITEMS = 20
MSET_KEYS = 500
CHECK_ROWS = 20_000
AT = "2026-03-08T07:00:00Z"
SHAPE = Shape("user_id", "candidate_id", "score", {"mutual_count": "int", "mutual_ids": "json"})
SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1/test",
    "mariadb": "mysql+pymysql://root@127.0.0.1/test",
}
SPEC = OutputSpec(
    "recommendations", key="user_id", order="rank", item="candidate_id", score="score",
    columns={"user_id": "int", "rank": "int", "candidate_id": "int", "score": "float", "mutual_count": "int",
             "mutual_ids": "json"},
)  # fmt: skip


def recommendations(users: int) -> Columns:
    """Rows like those of the job: a score with all its digits, one to three mutual friends."""
    random = np.random.default_rng(7)
    rows = users * ITEMS
    mutual = [random.integers(1, users, random.integers(1, 4)).tolist() for _ in range(rows)]
    return {
        "user_id": np.repeat(np.arange(1, users + 1), ITEMS),
        "rank": np.tile(np.arange(1, ITEMS + 1), users),
        "candidate_id": random.integers(1, users, rows),
        "score": random.random(rows) * 3,
        "mutual_count": np.array(list(map(len, mutual))),
        "mutual_ids": np.array([json.dumps(ids, separators=(",", ":")) for ids in mutual], object),
    }


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# -- SQL --------------------------------------------------------------------------------------------------------------


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Engine | None]:
    """An empty database with clockmill's tables; None where no server answers."""
    if kind == "sqlite":
        url, end = f"sqlite:///{folder}/bench.db", ""
    else:
        server, name = (
            os.environ.get(f"CLOCKMILL_BENCH_{kind.upper()}", SERVERS[kind]),
            f"bench_{uuid.uuid4().hex[:12]}",
        )
        try:
            administer(server, f"CREATE DATABASE {name}")
        except OperationalError as e:
            print(f"{kind}: left out: {str(e.orig).splitlines()[0]}")
            yield None
            return
        url, end = make_url(server).set(database=name).render_as_string(hide_password=False), f"DROP DATABASE {name}"
    engine = open_engine(url)
    try:
        migrate.upgrade(engine)
        yield engine
    finally:
        engine.dispose()
        if end:
            administer(server, end)


def administer(url: str, statement: str) -> None:
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(statement)
    server.dispose()


def publish_sql(engine: Engine, columns: Columns) -> None:
    """What is measured: the way of a version of an output."""
    build = Build(engine, SPEC, None, None)
    build.begin()
    build.write(columns)
    with write(engine) as connection:
        build.publish(connection, AT, "")


def raw_insert(engine: Engine, columns: Columns) -> Callable[[], None]:
    """What it is measured against, its values ready."""
    names = [*columns, "since", "until"]
    arrays = [*columns.values(), np.full(len(columns["rank"]), 1), np.full(len(columns["rank"]), OPEN)]
    if engine.dialect.name == "postgresql":
        order = copy_binary.order(arrays)
        names = [names[i] for i in order]
        ready = copy_binary.HEADER + copy_binary.encode([arrays[i] for i in order]) + copy_binary.TRAILER
        into = f"COPY recommendations ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"
    else:
        rows = list(zip(*(values.tolist() for values in arrays), strict=True))
        mark = "?" if engine.dialect.name == "sqlite" else "%s"
        into = f"INSERT INTO recommendations ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))})"

    def work() -> None:
        with write(engine) as connection:
            driver: Any = connection.connection.driver_connection
            cursor = driver.cursor()
            if engine.dialect.name == "postgresql":
                with cursor.copy(into) as copy:
                    for at in range(0, len(ready), 1_000_000):
                        copy.write(ready[at : at + 1_000_000])
            else:
                cursor.executemany(into, rows)

    return work


def table_rows(engine: Engine) -> list[tuple[Any, ...]]:
    table = table_of(SPEC)
    with engine.connect() as connection:
        rows = connection.execute(select(*table.c).order_by(table.c.user_id, table.c.rank, table.c.since))
        return [tuple(row) for row in rows]


def afresh(engine: Engine, table: bool) -> None:
    """Forgets the output; with `table` there is an empty one for the driver."""
    with write(engine) as connection:
        drop(connection, SPEC)
        connection.exec_driver_sql("DELETE FROM outputs")
        connection.exec_driver_sql("DELETE FROM publications")
        if table:
            create(connection, SPEC)


def half_changed(columns: Columns) -> Columns:
    """Every second list has other scores."""
    return {**columns, "score": columns["score"] + (columns["user_id"] % 2)}


def measure_sql(kind: str, columns: Columns, rounds: int, check: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as engine:
        if engine is None:
            return
        raw = raw_insert(engine, columns)
        times: list[tuple[float, float, float]] = []
        for _ in range(rounds):
            afresh(engine, table=True)
            peer = seconds(raw)
            theirs = table_rows(engine) if check else []
            afresh(engine, table=False)
            ours = seconds(lambda: publish_sql(engine, columns))
            if check and table_rows(engine) != theirs:
                sys.exit(f"{kind}: clockmill wrote something else than the driver: nothing to compare")
            times.append((peer, ours, seconds(lambda: publish_sql(engine, half_changed(columns)))))
        if check:
            print(f"{kind}: both ways leave the same {len(theirs)} rows")
            return
        peer, ours, half = (min(column) for column in zip(*times, strict=True))
        n = len(columns["rank"])
        print(f"{kind}: {n} rows: the driver {peer:.2f} s {n / peer:9,.0f} rows/s")
        print(f"{'':{len(kind)}}  a first version {ours:.2f} s {n / ours:9,.0f} rows/s, ratio {peer / ours:.2f}")
        print(f"{'':{len(kind)}}  every second list changed {half:.2f} s ({n // 2} rows closed, as many new)")


# -- Redis ------------------------------------------------------------------------------------------------------------


def publish_redis(mirror: Mirror, columns: Columns) -> None:
    """What is measured: the way of a version of an output."""
    mirror.begin("recommendations", 1)
    mirror.write_blocks("recommendations", 1, "recommendations", json_blocks(1, AT, columns, SHAPE))
    mirror.finish("recommendations", 1, {"rows": len(columns["user_id"])})


def mset(client: "Redis", named: list[tuple[str, bytes]]) -> None:
    """What it is measured against."""
    for first in range(0, len(named), MSET_KEYS):
        client.mset(dict(named[first : first + MSET_KEYS]))


def load_kernels(columns: Columns) -> float:
    """Seconds of the first use, which may compile them."""
    many = {name: np.resize(values, FAST_ROWS_COLD) for name, values in columns.items()}
    return seconds(lambda: list(json_values(1, AT, many, SHAPE)))


def compare(client: "Redis", named: list[tuple[str, bytes]]) -> None:
    """Exits unless the mirror's keys hold the very bytes that MSET was given under the same names."""
    for first in range(0, len(named), MSET_KEYS):
        part = named[first : first + MSET_KEYS]
        if client.mget([name for name, _ in part]) != [value for _, value in part]:
            sys.exit(f"the mirror wrote something else than MSET near {part[0][0]}: nothing to compare")


def memory(client: "Redis", columns: Columns, mirror: Mirror) -> tuple[float, float]:
    """Megabytes that the server holds with all lists, and at most while they were written."""
    client.flushall()
    client.config_resetstat()
    info: Any = client.info("memory")
    before = info["used_memory"]
    publish_redis(mirror, columns)
    info = client.info("memory")
    return (info["used_memory"] - before) / 1e6, (info["used_memory_peak"] - before) / 1e6


def measure_redis(users: int, rounds: int, check: bool) -> None:
    columns = recommendations(users)
    del columns["rank"]
    loaded = 0.0 if check else load_kernels(columns)
    named = [(f"cm:bench:recommendations:{key}", value) for key, value in json_values(1, AT, columns, SHAPE)]
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        client = connect("embedded", Path(folder))
        assert client is not None
        mirror = Mirror(client, "bench")
        held, most = memory(client, columns, mirror)
        compare(client, named)
        if check:
            print(f"redis: the mirror holds the same bytes of {users} users")
            client.close()
            return
        times = [
            (seconds(lambda: mset(client, named)), seconds(lambda: publish_redis(mirror, columns)))
            for _ in range(rounds)
        ]
        client.close()
    peer, ours = (min(column) for column in zip(*times, strict=True))
    size = sum(len(value) for _, value in named) / 1e6
    print(f"redis: {users} users x {ITEMS} items, {size:.0f} MB of JSON; first use of the kernels {loaded:.1f} s")
    print(f"       the server holds {held:.0f} MB then, {most:.0f} MB at most while it is written")
    print(f"       redis-py MSET of ready bytes  {peer:.2f} s  {users / peer:9,.0f} keys/s")
    print(f"       columns -> JSON -> mirror     {ours:.2f} s  {users / ours:9,.0f} keys/s, ratio {peer / ours:.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000, help="of SQL")
    options.add_argument("--users", type=int, default=50_000, help="of Redis")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="sqlite,postgresql,mariadb,redis")
    options.add_argument("--check", action="store_true")
    chosen = options.parse_args()
    if chosen.check:
        chosen.rows, chosen.users, chosen.rounds = CHECK_ROWS, CHECK_ROWS // ITEMS, 1
    columns = recommendations(chosen.rows // ITEMS)
    for kind in chosen.only.split(","):
        if kind == "redis":
            measure_redis(chosen.users, chosen.rounds, chosen.check)
        else:
            measure_sql(kind, columns, chosen.rounds, chosen.check)


if __name__ == "__main__":
    main()
