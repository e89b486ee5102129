"""How good the lists are, beside published numbers, on real data that $CLOCKMILL_DATA names.

    python bench/quality.py              every row: some minutes
    python bench/quality.py --check      the smallest sets: that the oracle is met and the defaults win

Protocols stand with their tables. Settings were chosen on validation parts (`choosing`), never on a test part.
"""

import argparse
import gzip
import os
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from clockmill import compute
from clockmill.compute.evaluation import Quality, as_rows, hold_out, lists_to_users, measure

Ints = npt.NDArray[np.int64]
SEED = 1
#: Users asked, by chance, where there are more.
ASKED = 8_000
DEFAULT = "damped"


class Feedback(NamedTuple):
    """Users, items and values, ids as codes."""

    users: Ints
    items: Ints
    values: npt.NDArray[np.float64]

    def where(self, marks: npt.NDArray[np.bool_]) -> "Feedback":
        return Feedback(self.users[marks], self.items[marks], self.values[marks])


# -- data


def table(path: Path, separator: str | None, skip: int = 0) -> npt.NDArray[np.float64]:
    return np.loadtxt(path, delimiter=separator, skiprows=skip)


def baskets(path: Path, named: bool) -> npt.NDArray[np.float64]:
    """One user a line, then the items; not `named`: the line's number is the user."""
    rows: list[tuple[int, int]] = []
    for number, line in enumerate(path.read_text().splitlines()):
        words = list(map(int, line.split()))
        rows += [(words[0] if named else number, item) for item in words[named:]]
    return np.array(rows, np.float64)


SETS: dict[str, Callable[[Path], npt.NDArray[np.float64]]] = {
    "ml-100k": lambda data: table(data / "ml-100k/u.data", None),
    "ml-latest-small": lambda data: table(data / "ml-latest-small/ratings.csv", ",", 1),
    "lastfm-hetrec": lambda data: table(data / "lastfm-hetrec/user_artists.dat", None, 1),
    "retailrocket views": lambda data: table(data / "retailrocket-reduced/view_ecommerce.dat", None, 1)[:, :2],
    "amazon-beauty": lambda data: baskets(data / "amazon-beauty/Beauty.txt", True),
    "gowalla": lambda data: baskets(data / "gowalla/train.txt", True),
    "fimi-retail": lambda data: baskets(data / "fimi-retail/retail.dat", False),
}


def feedback(name: str, data: Path) -> Feedback:
    rows = SETS[name](data)
    users, items = (np.unique(rows[:, column], return_inverse=True)[1] for column in (0, 1))
    return Feedback(users, items, rows[:, 2] if rows.shape[1] > 2 else np.ones(len(rows)))


def edges(path: Path) -> tuple[Ints, Ints]:
    """Each friendship once, nobody with themselves."""
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line[:1].isdigit()]
    low, high = np.sort(np.array(lines, np.int64)[:, :2], axis=1).T
    pairs = np.unique(np.stack([low, high], axis=1)[low != high], axis=0)
    return pairs[:, 0], pairs[:, 1]


# -- item-item


def similarity(train: Feedback, test: Feedback, n: int, k: int, places: int, **options: Any) -> Quality:
    """Lists of `k` for each item of `train`; a user is ranked all items not in train by the sum of their lists."""
    ratings = compute.ratings_matrix(train.users, train.items, train.values)
    lists = compute.similar_products(ratings, k=k, **options)
    asked = np.unique(test.users)
    if len(asked) > ASKED:
        asked = np.sort(np.random.default_rng(0).choice(asked, ASKED, replace=False))
    top = lists_to_users(lists, train.users, train.items, asked, n, places)
    kept = test.where(np.isin(test.users, asked))
    popularity = np.bincount(train.items, minlength=n)
    return measure(top, np.searchsorted(asked, kept.users), kept.items, popularity)


def halves(all_: Feedback, share: float, seed: int) -> tuple[Feedback, Feedback]:
    hidden = hold_out(all_.users, None, share, seed)
    return all_.where(~hidden), all_.where(hidden)


WEIGHTINGS = ("cosine", "jaccard", "dice", "tf_idf", "bm25", "log_likelihood", DEFAULT)


def choosing(name: str, data: Path) -> Iterator[tuple[str, Quality]]:
    """Validation: 20 % of each user's rows are set aside as test, of the others 20 % hidden, and looked for."""
    whole = feedback(name, data)
    train, test = halves(halves(whole, 0.2, SEED)[0], 0.2, SEED + 1)
    for weighting in WEIGHTINGS:
        yield weighting, similarity(train, test, whole.items.max() + 1, 20, 20, weighting=weighting)


def testing(name: str, data: Path) -> Iterator[tuple[str, Quality]]:
    """Test: 20 % of each user's rows, not looked at before; lists of 20, 20 places."""
    whole = feedback(name, data)
    train, test = halves(whole, 0.2, SEED)
    for weighting in WEIGHTINGS:
        yield weighting, similarity(train, test, whole.items.max() + 1, 20, 20, weighting=weighting)


def sar(data: Path) -> Iterator[tuple[str, Quality]]:
    """ml-100k, 75/25 of each user, top 10, whole lists: the protocol of recommenders-team's SAR."""
    whole = feedback("ml-100k", data)
    train, test = halves(whole, 0.25, SEED)
    n = int(whole.items.max()) + 1
    for weighting in WEIGHTINGS:
        yield weighting, similarity(train, test, n, n, 10, weighting=weighting, min_support=1)


# -- the oracle


def predictions(mean: float, weights: npt.NDArray[Any], deviation: npt.NDArray[Any]) -> Iterator[float]:
    """The mean and the weighted deviations of the 20 nearest; one for each choice among equals at the 20th place."""
    last = np.sort(weights)[-20] if len(weights) >= 20 else 0.0
    sure, equal = np.flatnonzero(weights > last + 1e-12), np.flatnonzero(np.abs(weights - last) <= 1e-12)
    some = list(combinations(equal.tolist(), 20 - len(sure))) if last > 0 else [()]
    for more in some:
        best = np.concatenate([sure, np.array(more, np.int64)])
        total = weights[best].sum()
        yield mean + float(weights[best] @ deviation[best]) / total if total > 0 else mean


def lenskit(data: Path) -> tuple[int, float]:
    """How many of LensKit's item-kNN predictions come out, and the largest difference."""
    folder = data / "ml-latest-small"
    rows, wanted = (
        table(folder / "ratings.csv", ",", 1),
        table(folder / "lenskit-reference/item-item-preds.csv", ",", 1),
    )
    users, items = rows[:, 0].astype(int), rows[:, 1].astype(int)
    ids, codes = np.unique(items, return_inverse=True)
    means = np.bincount(codes, rows[:, 2]) / np.bincount(codes)
    centred = rows[:, 2] - means[codes]
    ratings = compute.ratings_matrix(users, items, centred)
    targets = np.unique(np.searchsorted(ratings.product_ids, wanted[:, 1].astype(int)))
    lists = compute.similar_products(ratings, "cosine", len(ids), min_support=1, only=targets)
    n = len(ids)
    places = (np.searchsorted(ids, lists["product_id"]), np.searchsorted(ids, lists["similar_id"]))
    similar = sp.csr_array((lists["score"], places), shape=(n, n))
    worst = 0.0
    for user, item, expected in wanted:
        own = users == user
        target = np.searchsorted(ids, int(item))
        held, deviation = codes[own], centred[own]
        weights = similar[[target]].toarray()[0][held]
        weights[(held == target) | (weights <= 1e-6)] = 0
        worst = max(worst, min(abs(found - expected) for found in predictions(means[target], weights, deviation)))
    return len(wanted), worst


# -- friends

GRAPHS = {
    "Caltech36": "facebook100/Caltech36.edges.gz",
    "Haverford76": "facebook100/Haverford76.edges.gz",
    "American75": "facebook100/American75.edges.gz",
    "facebook_pages": "musae/facebook_pages_edges.csv",
    "lastfm_asia": "musae/lastfm_asia_edges.csv",
    "deezer_europe": "musae/deezer_europe_edges.csv",
    "github": "musae/github_edges.csv",
}
FRIENDS = ("common_neighbours", "jaccard", "adamic_adar", "resource_allocation")


def friends(name: str, data: Path) -> Iterator[tuple[str, Quality]]:
    """10 % of the edges hidden; for each user all strangers are ranked, and the first 10 looked at."""
    low, high = edges(data / GRAPHS[name])
    hidden = np.random.default_rng(SEED).random(len(low)) < 0.1
    graph = compute.friendship_graph(low[~hidden], high[~hidden])
    n = int(high.max()) + 1
    popularity = np.zeros(n, np.int64)
    popularity[graph.ids] = graph.degrees
    users, sought = np.concatenate([low[hidden], high[hidden]]), np.concatenate([high[hidden], low[hidden]])
    for weighting in FRIENDS:
        lists = compute.recommend(graph, weighting, 10)
        top = as_rows(lists["user_id"], lists["candidate_id"], lists["rank"], n, 10)
        yield weighting, measure(top, users, sought, popularity)


def roc(data: Path) -> Iterator[tuple[str, float]]:
    """ego-Facebook, 25 % of edges hidden: how often a hidden edge scores above a pair that is none, ties half."""
    folder = data / "ego-facebook"
    train = np.loadtxt(folder / "fb-combined-0.25-train_edges.csv", delimiter=",", dtype=np.int64)
    graph = compute.friendship_graph(train[:, 0], train[:, 1])
    for weighting in FRIENDS:
        lists = compute.recommend(graph, weighting, len(graph.ids))
        n = int(graph.ids.max()) + 1
        scores = sp.csr_array((lists["score"], (lists["user_id"], lists["candidate_id"])), shape=(n, n))
        there, none = (
            np.array(
                [
                    scores[a, b] if max(a, b) < n else 0.0
                    for a, b in np.loadtxt(folder / file, delimiter=",", dtype=np.int64)
                ]
            )
            for file in ("fb-combined-0.25-val_edges.csv", "fb-combined-0.25-val_edges_false.csv")
        )
        below = np.searchsorted(np.sort(none), there, "left") + np.searchsorted(np.sort(none), there, "right")
        yield weighting, float(below.mean() / 2 / len(none))


# -- printing


def rows_of(found: Iterator[tuple[str, Quality]], fields: tuple[str, ...]) -> dict[str, list[str]]:
    return {name: [f"{getattr(quality, field):.4f}" for field in fields] for name, quality in found}


def print_rows(title: str, fields: tuple[str, ...], rows: dict[str, list[str]]) -> None:
    print(f"\n### {title}\n\n| weighting | {' | '.join(fields)} |\n|---|{'---|' * len(fields)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def ahead(rows: dict[str, list[str]], ours: str, plain: str, what: str) -> None:
    """The default must be better than the plain one by the first column."""
    assert float(rows[ours][0]) > float(rows[plain][0]), f"{what}: {ours} is no better than {plain}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="the smallest sets")
    check = parser.parse_args().check
    if "CLOCKMILL_DATA" not in os.environ:
        sys.exit("CLOCKMILL_DATA names no folder of data" if not check or os.environ.get("CI") else 0)
    data = Path(os.environ["CLOCKMILL_DATA"])
    compute.compile_kernels()
    number, worst = lenskit(data)
    assert worst < 1e-6, f"LensKit's predictions differ by up to {worst}"
    print(f"LensKit item-kNN: {number:,} predictions, largest difference {worst:.1e}")
    friends_columns = ("precision", "hit_rate", "ndcg")
    for graph in ("Caltech36",) if check else GRAPHS:
        rows = rows_of(friends(graph, data), friends_columns)
        ahead(rows, "adamic_adar", "common_neighbours", graph)
        print_rows(f"{graph}: 10 % of edges hidden, 10 places", friends_columns, rows)
    columns = ("ndcg", "recall", "precision", "coverage", "popularity")
    for name in ("lastfm-hetrec",) if check else SETS:
        for title, run in (("validation", choosing), ("test", testing))[: 1 if check else 2]:
            rows = rows_of(run(name, data), columns)
            ahead(rows, DEFAULT, "cosine", f"{name}, {title}")
            print_rows(f"{name}, {title}: 20 % of each user hidden, 20 places", columns, rows)
    if check:
        return
    print_rows("ml-100k: 75/25 of each user, 10 places", ("ndcg", "precision", "map"), rows_of(
        sar(data), ("ndcg", "precision", "map")))  # fmt: skip
    print_rows("ego-Facebook: ROC AUC, 25 % of edges hidden", ("auc",), {
        name: [f"{auc:.4f}"] for name, auc in roc(data)})  # fmt: skip


if __name__ == "__main__":
    main()
