"""Product similarity, cosine, at a million ratings beside scipy, implicit, sparse_dot_topn and SQL, one thread each.

    python bench/similarity.py            6,040 users x 3,700 products, 1 M ratings
    python bench/similarity.py --large    138,493 x 26,744, 20 M ratings: some minutes, 4 GB
    python bench/similarity.py --check    a small size: only that all agree

Every answer is compared before a time is printed. Peers that are not installed are left out. All pairs count
(min_support = 1), since the peers know no support.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

# Before numpy: a peer's BLAS or OpenMP must not use a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from clockmill import compute

K = 20
SEED = 11

SIZES = {"check": (300, 200, 6_000), "usual": (6_040, 3_700, 1_000_000), "large": (138_493, 26_744, 20_000_000)}

Lists = npt.NDArray[np.float64]


def feedback(users: int, products: int, ratings: int) -> compute.Ratings:
    """Ratings of 0.5 to 5 by half steps; log-normal activity of users, steeper popularity of products."""
    random = np.random.default_rng(SEED)
    active = np.cumsum(random.lognormal(0, 1.1, users))
    popular = np.cumsum(random.lognormal(0, 1.6, products))
    pairs = np.empty(0, np.int64)
    while len(pairs) < ratings:
        user = np.searchsorted(active, random.random(ratings) * active[-1])
        product = np.searchsorted(popular, random.random(ratings) * popular[-1])
        pairs = np.unique(np.concatenate([pairs, user * products + product]))
    pairs = random.choice(pairs, ratings, replace=False)
    return compute.ratings_matrix(pairs // products, pairs % products, random.integers(1, 11, ratings) / 2)


def unit_rows(ratings: compute.Ratings) -> sp.csr_array:
    """Products by users, float32, each row of norm 1."""
    shape = (len(ratings.product_ids), len(ratings.user_ids))
    matrix = sp.csr_array((ratings.values, ratings.users.astype(np.int32), ratings.indptr), shape)
    norms = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    return sp.csr_array(sp.diags_array(1 / norms) @ matrix).astype(np.float32)


def padded(rows: npt.NDArray[Any], ranks: npt.NDArray[Any], scores: npt.NDArray[Any], n: int) -> Lists:
    """Scores as one row a product, best first, zero where there is none."""
    lists = np.zeros((n, K))
    lists[rows, ranks] = scores
    return lists


def as_lists(ratings: compute.Ratings, columns: dict[str, npt.NDArray[Any]]) -> Lists:
    rows = np.searchsorted(ratings.product_ids, columns["product_id"])
    return padded(rows, columns["rank"] - 1, columns["score"], len(ratings.product_ids))


def without_self(matrix: sp.csr_array) -> Lists:
    """The K best entries of each row beside the diagonal."""
    matrix.setdiag(0)
    lists = np.zeros((matrix.shape[0], K))
    for row in range(matrix.shape[0]):
        best = np.sort(matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]])[::-1][:K]
        lists[row, : len(best)] = best
    return lists


def implicit(rows: sp.csr_array) -> sp.csr_array:
    from implicit.nearest_neighbours import CosineRecommender

    # Its K counts the product itself.
    model = CosineRecommender(K=K + 1, num_threads=1)
    model.fit(sp.csr_matrix(rows.T), show_progress=False)
    return sp.csr_array(model.similarity)


def sparse_dot_topn(rows: sp.csr_array) -> sp.csr_array:
    from sparse_dot_topn import sp_matmul_topn

    return sp.csr_array(sp_matmul_topn(sp.csr_matrix(rows), sp.csr_matrix(rows.T), K + 1, sort=True))


def scipy_product(rows: sp.csr_array) -> sp.csr_array:
    return sp.csr_array(rows @ rows.T)


SELF_JOIN = """
WITH pairs AS (
    SELECT a.product AS product, b.product AS other, sum(a.value * b.value) AS score
    FROM ratings a JOIN ratings b USING (person) WHERE a.product <> b.product GROUP BY 1, 2
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY product ORDER BY score DESC, other) AS place FROM pairs WHERE score > 0
)
SELECT product, other, score FROM ranked WHERE place <= ?
"""


def duckdb(rows: sp.csr_array) -> sp.csr_array:
    import duckdb
    import pyarrow as pa

    products = np.repeat(np.arange(rows.shape[0], dtype=np.int32), np.diff(rows.indptr))
    told = pa.table({"product": products, "person": rows.indices, "value": rows.data})  # noqa: F841 (named in a query)
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE TABLE ratings AS SELECT product, person, value::DOUBLE AS value FROM told")
    found = connection.execute(SELF_JOIN, [K]).fetchnumpy()
    return sp.csr_array((found["score"], (found["product"], found["other"])), (rows.shape[0], rows.shape[0]))


def timed(what: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> tuple[Any, float]:
    """The answer and its seconds, by default of the processor: other work on a shared machine does not count."""
    began = clock()
    answer = what()
    return answer, clock() - began


def beside(rows: sp.csr_array, lists: Lists, large: bool) -> list[tuple[str, float]]:
    """The seconds of each peer that is installed and agrees."""
    times = []
    for peer in (implicit, sparse_dot_topn, *(() if large else (scipy_product, duckdb))):
        try:
            found, seconds = timed(partial(peer, rows))
        except ModuleNotFoundError as e:
            print(f"{e.name} is not installed: left out")
            continue
        same = np.allclose(without_self(found), lists, rtol=1e-4, atol=1e-6)
        assert same, f"clockmill and {peer.__name__} differ"
        times.append((peer.__name__, seconds))
    return times


def peak() -> int:
    """The most bytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def line(name: str, seconds: float, base: float) -> None:
    print(f"{name:<42}{seconds:8.2f} s{seconds / base:8.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="a small size, and no times")
    parser.add_argument("--large", action="store_true", help="20 M ratings, without scipy and SQL")
    asked = parser.parse_args()
    size = "check" if asked.check else "large" if asked.large else "usual"

    _, compiling = timed(compute.compile_kernels)
    ratings = feedback(*SIZES[size])
    before = peak()
    columns, one = timed(lambda: compute.similar_products(ratings, min_support=1, threads=1))
    memory = (peak() - before) / (12 * len(ratings.values))
    times = beside(unit_rows(ratings), as_lists(ratings, columns), asked.large)
    if asked.check:
        print(f"{len(ratings.product_ids)} products: the lists agree")
        return
    two, double = timed(lambda: compute.similar_products(ratings, min_support=1, threads=2), time.perf_counter)
    assert all(np.array_equal(columns[name], two[name]) for name in columns), "one thread and two differ"

    wedges = int((np.bincount(ratings.users).astype(np.int64) ** 2).sum())
    print(
        f"{len(ratings.user_ids)} users, {len(ratings.product_ids)} products, {len(ratings.values)} ratings", end=", "
    )
    print(f"{wedges / 1e6:.0f} M wedges, top {K}; compile or load {compiling:.2f} s")
    print(f"memory beyond the input at most {memory:.1f} x its compressed rows (12 bytes a rating)")
    line("clockmill, exact, one thread", one, one)
    for name, seconds in times:
        line(name, seconds, one)
    line("clockmill, two threads, by the wall", double, one)


if __name__ == "__main__":
    main()
