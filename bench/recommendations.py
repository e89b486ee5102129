"""Friends of friends beside scipy, sparse_dot_topn and a self-join in SQL, one thread each, in one process.

    python bench/recommendations.py                     100,000 people; SQL at 10,000: two minutes
    python bench/recommendations.py --people 1000000    without scipy, whose product does not fit
    python bench/recommendations.py --graph FILE        a graph of one's own: two ids a line, or CSV, or either as .gz
    python bench/recommendations.py --sql               SQL at the whole size, too: DuckDB takes minutes
    python bench/recommendations.py --check             a small size: only that all agree

Every answer is compared before a time is printed. Peers that are not installed are left out.
"""

import argparse
import gzip
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before numpy: a peer's BLAS or OpenMP must not use a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from clockmill import compute
from clockmill.compute.recommendations import ScoredGraph, best_candidates, score_by

K = 20
SEED = 7
#: Rows compared with the plain product; all rows are compared with the peers that keep the top k.
SAMPLE = 1_000

#: Above so many people scipy's product, which keeps every candidate, is left out.
FITS_SCIPY = 200_000

Lists = npt.NDArray[np.float64]


def people(users: int, rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Friendship rows: log-normal popularity, three of five friendships inside groups of a few hundred."""
    random = np.random.default_rng(SEED)
    popularity = np.cumsum(random.lognormal(0, 1.38, users))
    sizes = random.lognormal(5, 1, users // 50).astype(np.int64) + 5
    group = np.repeat(np.arange(len(sizes)), sizes)[:users]
    start, stop = (np.searchsorted(group, group, side) for side in ("left", "right"))
    user = np.searchsorted(popularity, random.random(rows) * popularity[-1])
    low = np.where(start[user] > 0, popularity[start[user] - 1], 0)
    drawn = random.random(rows)
    local = low + drawn * (popularity[stop[user] - 1] - low)
    friend = np.searchsorted(popularity, np.where(random.random(rows) < 0.6, local, drawn * popularity[-1]))
    names = random.permutation(users)
    return names[user], names[np.minimum(friend, users - 1)]


def adjacency(graph: compute.Graph, dtype: type) -> sp.csr_array:
    n = len(graph.ids)
    return sp.csr_array((np.ones(len(graph.indices), dtype), graph.indices.astype(np.int32), graph.indptr), (n, n))


def padded(found: npt.NDArray[np.int64], scores: npt.NDArray[Any]) -> Lists:
    """Scores as one row a user, best first, zero where there is none."""
    lists = np.zeros((len(found), K))
    lists[np.arange(K) < found[:, None]] = scores
    return lists


def ours(scored: ScoredGraph) -> Lists:
    found, _, scores = best_candidates(scored, K, 0, len(scored.graph.ids))
    return padded(found, scores)


def weighted(scored: ScoredGraph, dtype: type) -> tuple[sp.csr_array, sp.csr_array]:
    plain = adjacency(scored.graph, dtype)
    return sp.csr_array(plain @ sp.diags_array((scored.weights * scored.unit).astype(dtype))), plain


def scipy_product(scored: ScoredGraph) -> sp.csr_array:
    """The product alone: neither mask nor top k."""
    left, right = weighted(scored, np.float64)
    return sp.csr_array(left @ right)


def sparse_dot_topn(scored: ScoredGraph) -> Lists:
    """Friends and self are masked by stacking: they are given a large negative score as well."""
    from sparse_dot_topn import sp_matmul_topn

    left, right = weighted(scored, np.float32)
    one = sp.eye_array(len(scored.graph.ids), dtype=np.float32)
    top = sp_matmul_topn(
        sp.csr_matrix(sp.hstack([left, right + one])),
        sp.csr_matrix(sp.vstack([right, one * np.float32(-1e6)])),
        K,
        threshold=0.0,
        sort=True,
    )
    return padded(np.diff(top.indptr), top.data)


# -- SQL

SELF_JOIN = """
WITH weighted AS (
    SELECT person, CASE WHEN count(*) > 1 THEN 1 / ln(count(*)) ELSE 0 END AS weight FROM friends GROUP BY 1
),
common AS (
    SELECT mine.person AS person, theirs.friend AS candidate, sum(weighted.weight) AS score
    FROM friends mine JOIN weighted ON weighted.person = mine.friend JOIN friends theirs ON theirs.person = mine.friend
    WHERE theirs.friend <> mine.person GROUP BY 1, 2
),
ranked AS (
    SELECT person, score, row_number() OVER (PARTITION BY person ORDER BY score DESC, candidate) AS place FROM common
    WHERE NOT EXISTS (SELECT 1 FROM friends f WHERE f.person = common.person AND f.friend = common.candidate)
)
SELECT person, place, score FROM ranked WHERE place <= ?
"""


def duckdb_join(graph: compute.Graph) -> Lists:
    import duckdb
    import pyarrow as pa

    told = pa.table({"person": rows_of(graph), "friend": graph.indices})  # noqa: F841 (the query names it)
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE TABLE friends AS SELECT person::INT AS person, friend::INT AS friend FROM told")
    return listed(graph, connection.execute(SELF_JOIN, [K]).fetchall())


def sqlite_join(graph: compute.Graph) -> Lists:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE friends (person INT, friend INT, PRIMARY KEY (person, friend)) WITHOUT ROWID")
    pairs = zip(rows_of(graph).tolist(), graph.indices.tolist(), strict=True)
    connection.executemany("INSERT INTO friends VALUES (?, ?)", pairs)
    return listed(graph, connection.execute(SELF_JOIN, [K]).fetchall())


def rows_of(graph: compute.Graph) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(graph.ids)), np.diff(graph.indptr))


def listed(graph: compute.Graph, rows: list[tuple[int, int, float]]) -> Lists:
    lists = np.zeros((len(graph.ids), K))
    person, place, score = np.array(rows).T
    lists[person.astype(np.int64), place.astype(np.int64) - 1] = score
    return lists


def beside_sql(graph: compute.Graph, whole: bool) -> list[tuple[str, float]]:
    """The kernel and the self-join: DuckDB's, and unless the graph is a `whole` one SQLite's."""
    lists, kernel = timed(lambda: ours(score_by(graph, "adamic_adar")))
    times = [("clockmill kernel, exact, one thread", kernel)]
    for name, join in (("DuckDB, self-join", duckdb_join), *(() if whole else (("SQLite, self-join", sqlite_join),))):
        try:
            found, seconds = timed(lambda join=join: join(graph))
        except ModuleNotFoundError as e:
            print(f"{e.name} is not installed: left out")
            continue
        np.testing.assert_allclose(lists, found, rtol=1e-9, err_msg=f"clockmill and {name} differ")
        times.append((name, seconds))
    return times


# -- the measurement


def edges(file: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The two ids of every line that begins with one."""
    text = (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()
    found = np.array([line.replace(",", " ").split()[:2] for line in text.splitlines() if line[:1].isdigit()], np.int64)
    return found[:, 0], found[:, 1]


def timed(what: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> tuple[Any, float]:
    """The answer and its seconds, by default of the processor: other work on a shared machine does not count."""
    began = clock()
    answer = what()
    return answer, clock() - began


def agrees_with_product(scored: ScoredGraph, lists: Lists) -> None:
    left, right = weighted(scored, np.float64)
    rows = np.random.default_rng(SEED).choice(len(lists), min(SAMPLE, len(lists)), replace=False)
    scores = (left[rows] @ right).toarray()
    scores[right[rows].toarray() > 0] = 0
    scores[np.arange(len(rows)), rows] = 0
    best = -np.sort(-scores, axis=1)[:, :K]
    np.testing.assert_allclose(lists[rows], best, rtol=1e-11, err_msg="clockmill and the plain product differ")


def agrees_with_float32(lists: Lists, peer: Lists) -> None:
    np.testing.assert_allclose(lists, peer, rtol=1e-4, err_msg="clockmill and sparse_dot_topn differ")


def line(name: str, seconds: float, base: float) -> None:
    print(f"{name:<42}{seconds:8.2f} s{seconds / base:8.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="a small size, and no times")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--graph", type=Path, help="a file of friendships instead of generated ones")
    parser.add_argument("--sql", action="store_true", help="the self-join of the whole graph")
    asked = parser.parse_args()
    check, users = asked.check, 2_000 if asked.check else asked.people

    _, compiling = timed(compute.compile_kernels)
    told = edges(asked.graph) if asked.graph else people(users, 15 * users if check else 203 * users // 10)
    graph, preparing = timed(lambda: compute.friendship_graph(*told))
    scored, labelling = timed(lambda: score_by(graph, "adamic_adar"))
    lists, kernel = timed(lambda: ours(scored))
    agrees_with_product(scored, lists)
    peers: list[tuple[str, float]] = []
    try:
        found, seconds = timed(lambda: sparse_dot_topn(scored))
    except ModuleNotFoundError:
        print("sparse_dot_topn is not installed: left out")
    else:
        agrees_with_float32(lists, found)
        peers.append(("sparse_dot_topn, mask by stacking", seconds))
    if check:
        beside_sql(graph, False)
        print(f"{users} people: the lists agree")
        return
    if len(graph.ids) <= FITS_SCIPY:
        peers.append(("scipy A @ A, no mask, no top k", timed(lambda: scipy_product(scored))[1]))
    one, whole = timed(lambda: compute.recommend(graph, threads=1))
    two, double = timed(lambda: compute.recommend(graph, threads=2), time.perf_counter)
    assert all(np.array_equal(one[name], two[name]) for name in one), "one thread and two differ"

    shown(graph)
    print(f"compile or load {compiling:.2f} s, graph {preparing:.2f} s, labels {labelling:.2f} s")
    line("clockmill kernel, exact, one thread", kernel, kernel)
    for name, seconds in peers:
        line(name, seconds, kernel)
    line("clockmill lists and reasons, one thread", whole, kernel)
    line("clockmill lists and reasons, two threads, by the wall", double, kernel)
    if asked.graph or asked.sql:
        joined = graph
    else:
        joined = compute.friendship_graph(*people(10_000, 203_000))
        print()
        shown(joined)
    times = beside_sql(joined, asked.sql)
    for name, seconds in times:
        line(name, seconds, times[0][1])


def shown(graph: compute.Graph) -> None:
    wedges = int((graph.degrees**2).sum())
    print(f"{len(graph.ids)} people, {len(graph.indices)} directed edges, {wedges / 1e6:.0f} M wedges, top {K}")


if __name__ == "__main__":
    main()
