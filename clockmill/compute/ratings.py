"""Feedback of users on products as a sparse matrix: one value a pair, sorted by product."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.ids import Codes, Ids, IdsLike, as_ids, factorise, same_length


class DroppedRatings(NamedTuple):
    """Rows without an entry in the matrix: NaN or infinite, replaced by a later row of the same pair, or zero."""

    not_finite: int
    replaced: int
    zeros: int


@dataclass(frozen=True, slots=True)
class Ratings:
    """Feedback, product by product: users[indptr[i]:indptr[i + 1]], ascending, gave product i the same part of values.

    `product_ids` and `user_ids` are ascending, so that numbers and ids have one order.
    """

    product_ids: Ids
    user_ids: Ids
    indptr: npt.NDArray[np.int64]
    users: Codes
    values: npt.NDArray[np.float64]
    dropped: DroppedRatings


def ratings_matrix(user_id: IdsLike, product_id: IdsLike, value: npt.ArrayLike | None = None) -> Ratings:
    """The matrix of rows (user, product, value); without `value` every row is a plain 1, as a purchase or a click.

    Of rows of one pair the last counts. Rows whose value is not finite are left out before that, pairs whose value is
    zero after it (no feedback); `dropped` counts them. Raises ValueError for columns of unequal length or other kinds.
    """
    users, products = as_ids("user_id", user_id), as_ids("product_id", product_id)
    values = _as_values(value, len(users))
    same_length(user_id=users, product_id=products, value=values)
    finite = np.isfinite(values)
    not_finite = len(values) - int(np.count_nonzero(finite))
    if not_finite:
        users, products, values = users[finite], products[finite], values[finite]
    user_ids, user_codes = factorise(users)
    product_ids, product_codes = factorise(products)
    pair = product_codes.astype(np.uint64) << np.uint64(32) | user_codes
    last = _last_of_each(pair)
    kept = last[values[last] != 0]
    indptr = np.zeros(len(product_ids) + 1, np.int64)
    np.cumsum(np.bincount(product_codes[kept], minlength=len(product_ids)), out=indptr[1:])
    dropped = DroppedRatings(not_finite, len(pair) - len(last), len(last) - len(kept))
    return Ratings(product_ids, user_ids, indptr, user_codes[kept], values[kept], dropped)


def _as_values(value: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64]:
    if value is None:
        return np.ones(n)
    try:
        return np.asarray(value).astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError("value must be a column of numbers, without NULL") from None


def _last_of_each(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """The places of the last occurrence of each distinct key, by ascending key."""
    by_key = np.argsort(keys, kind="stable")
    ordered = keys[by_key]
    last = np.ones(len(keys), np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    return by_key[last]
