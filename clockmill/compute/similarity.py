"""Customers also liked: the products whose feedback comes from the same users."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute import kernels
from clockmill.compute.blocks import Progress, equal_blocks, run_blocks
from clockmill.compute.ids import Codes
from clockmill.compute.labels import Labels, by_falling_degree
from clockmill.compute.options import at_least, one_of
from clockmill.compute.pairs import Lists, best_pairs, pair_matrix, whole_values
from clockmill.compute.ratings import Ratings

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weighting:
    """What each entry of the matrix counts, and how two products are compared.

    By the cosine of their columns, or with `share` by their common users as a part of all users of either.
    """

    values: Callable[[Ratings], Floats]
    share: bool = False


WEIGHTINGS = {
    "cosine": Weighting(lambda ratings: ratings.values),
    "jaccard": Weighting(lambda ratings: np.ones(len(ratings.values)), share=True),
}


def balanced(ratings: Ratings) -> Floats:
    """Each product's values times the power of two that brings the largest below 1; a cosine does not notice.

    Squares of very large or very small values would leave the range of a float64. A power of two rounds nothing.
    """
    counts = np.diff(ratings.indptr)
    filled = ratings.indptr[:-1][counts > 0]
    if not len(filled):
        return ratings.values
    _, exponents = np.frexp(np.maximum.reduceat(np.abs(ratings.values), filled))
    scaled: Floats = np.ldexp(ratings.values, -np.repeat(exponents, counts[counts > 0]))
    return scaled


class _Matrix(NamedTuple):
    """The ratings as the kernel takes them: products by users, and users by labelled products."""

    indptr: npt.NDArray[np.int64]
    users: Codes
    values: Floats
    user_ptr: npt.NDArray[np.int64]
    user_labels: Codes
    user_values: Floats
    #: The sum of the squares of each product's values.
    squares: Floats
    labels: Labels


def similar_products(
    ratings: Ratings,
    weighting: str = "cosine",
    k: int = 20,
    min_support: int = 2,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """The `k` most similar products of each product, best first, equal scores by ascending id.

    Columns of one length: product_id, rank (from 1), similar_id, score (positive), support: the number of users with
    feedback on both, at least `min_support`. Products without a partner have no rows. Raises ValueError.
    """
    scheme = one_of("weighting", weighting, WEIGHTINGS)
    at_least(1, k=k, min_support=min_support, threads=threads)
    ratings = replace(ratings, values=scheme.values(ratings))
    whole = whole_values(ratings)
    if whole is None:
        return _columns(ratings, _row_by_row(ratings, k, min_support, threads, progress))
    matrix = pair_matrix(ratings, whole)
    return _columns(ratings, best_pairs(matrix, scheme.share, k, min_support, threads, progress))


def _row_by_row(ratings: Ratings, k: int, min_support: int, threads: int | None, progress: Progress | None) -> Lists:
    """The lists by cosine, for values that are no whole numbers."""
    matrix = _matrix(ratings, balanced(ratings))

    def lists(first: int, last: int) -> Lists:
        return _lists(matrix, k, min_support, first, last)

    blocks = equal_blocks(_wedges(matrix), threads)
    return _joined(run_blocks(lists, blocks, threads, progress))


def _matrix(ratings: Ratings, values: Floats) -> _Matrix:
    counts = np.diff(ratings.indptr)
    labels = by_falling_degree(counts)
    entry_labels = np.repeat(labels.label, counts)
    by_user = np.argsort(ratings.users.astype(np.uint64) << np.uint64(32) | entry_labels)
    user_ptr = np.zeros(len(ratings.user_ids) + 1, np.int64)
    np.cumsum(np.bincount(ratings.users, minlength=len(ratings.user_ids)), out=user_ptr[1:])
    product = np.repeat(np.arange(len(counts)), counts)
    squares = np.zeros(len(counts))
    np.add.at(squares, product, values * values)
    return _Matrix(
        ratings.indptr, ratings.users, values, user_ptr, entry_labels[by_user], values[by_user], squares, labels
    )


def _wedges(matrix: _Matrix) -> npt.NDArray[np.int64]:
    """For each product the number of paths product - user - product."""
    done = np.zeros(len(matrix.users) + 1, np.int64)
    np.cumsum(np.diff(matrix.user_ptr)[matrix.users], out=done[1:])
    return np.diff(done[matrix.indptr])


def _lists(matrix: _Matrix, k: int, min_support: int, first: int, last: int) -> Lists:
    found = np.zeros(last - first, np.int64)
    items = np.empty((last - first, k), np.uint32)
    scores = np.empty((last - first, k))
    supports = np.empty((last - first, k), np.int64)
    kernels.similar_rows(
        matrix.indptr,
        matrix.users,
        matrix.values,
        matrix.user_ptr,
        matrix.user_labels,
        matrix.user_values,
        matrix.squares,
        matrix.labels.label,
        matrix.labels.order,
        min_support,
        first,
        last,
        found,
        items,
        scores,
        supports,
    )
    filled = np.arange(k) < found[:, None]
    return Lists(found, items[filled], scores[filled], supports[filled])


def _joined(parts: list[Lists]) -> Lists:
    empty = Lists(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0), np.empty(0, np.int64))
    return Lists(*map(np.concatenate, zip(empty, *parts, strict=True)))


def _columns(ratings: Ratings, lists: Lists) -> dict[str, npt.NDArray[Any]]:
    starts = np.cumsum(lists.found) - lists.found
    return {
        "product_id": np.repeat(ratings.product_ids, lists.found),
        "rank": np.arange(1, len(lists.partners) + 1) - np.repeat(starts, lists.found),
        "similar_id": ratings.product_ids[lists.partners],
        "score": lists.scores,
        "support": lists.supports,
    }
