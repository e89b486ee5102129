"""Customers also liked: the products whose feedback comes from the same users."""

from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.blocks import Divide, Progress
from clockmill.compute.options import at_least, one_of, within
from clockmill.compute.pairs import Lists, PairMatrix, best_of, best_pairs, pair_matrix, whole_values
from clockmill.compute.ratings import Ratings
from clockmill.compute.scoring import Scoring
from clockmill.compute.weightings import WEIGHTINGS, Damping

Ints = npt.NDArray[np.int64]


def similar_products(
    ratings: Ratings,
    weighting: str = "cosine",
    k: int = 20,
    min_support: int = 2,
    shrink: float = 0.0,
    damping: Damping = Damping(),  # noqa: B008 (immutable)
    only: npt.ArrayLike | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    prepared: tuple[PairMatrix, Scoring] | None = None,
    divide: Divide | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """The `k` most similar products of each product, best first, equal scores by ascending id.

    `shrink` multiplies a score by support / (support + shrink). `only`: the numbers, ascending, of the products whose
    lists are wanted; they are the same as among all lists. `prepared`: what `compared` gave for the same.
    `divide`: has `similar_range` carried out elsewhere, for all products. Columns of one length: product_id, rank (from
    1), similar_id, score (positive), support: the number of users with feedback on both, at least `min_support`.
    Products without a partner have no rows. Raises ValueError.
    """
    at_least(1, k=k, min_support=min_support, threads=threads)
    matrix, scoring = prepared or compared(ratings, weighting, shrink, damping)
    if only is None:
        products = np.arange(len(ratings.product_ids))
        lists = best_pairs(matrix, scoring, k, min_support, threads, progress, divide)
    else:
        products = np.asarray(only, np.int64)
        lists = best_of(matrix, scoring, products, k, min_support, threads, progress)
    return _columns(ratings, products, lists)


def compared(
    ratings: Ratings,
    weighting: str = "cosine",
    shrink: float = 0.0,
    damping: Damping = Damping(),  # noqa: B008 (immutable)
) -> tuple[PairMatrix, Scoring]:
    """The matrix under a weighting, and the formula for its products. Raises ValueError."""
    scheme = one_of("weighting", weighting, WEIGHTINGS)
    within(0, 1e9, shrink=shrink)
    within(0, 2, damp_user=damping.user, damp_seed=damping.seed, damp_target=damping.target)
    entries = scheme.entries(ratings, damping)
    degrees = np.diff(ratings.indptr)
    whole = whole_values(entries, int(degrees.max(initial=0)))
    matrix, squares = pair_matrix(ratings, entries if whole is None else whole)
    users = int(np.count_nonzero(np.diff(matrix.user_ptr)))
    return matrix, scheme.scoring(degrees[matrix.order].astype(np.float64), squares, users, damping, float(shrink))


def _columns(ratings: Ratings, products: Ints, lists: Lists) -> dict[str, npt.NDArray[Any]]:
    starts = np.cumsum(lists.found) - lists.found
    return {
        "product_id": np.repeat(ratings.product_ids[products], lists.found),
        "rank": np.arange(1, len(lists.partners) + 1) - np.repeat(starts, lists.found),
        "similar_id": ratings.product_ids[lists.partners],
        "score": lists.scores,
        "support": lists.supports,
    }
