"""Whose similar products can differ from those made before.

The similarity of two products hangs on the feedback of either, under the weighting, and on nothing else but numbers
that are compared as well. Let D be the products whose weighted feedback changed: another list can have changed only if
one in D was on it, or is good enough for it. A weighting by what everybody does (TF-IDF, BM25) may put all in D.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.blocks import equal_blocks, run_blocks
from clockmill.compute.change_kernels import reached_products
from clockmill.compute.changes import (
    Arrays,
    Basis,
    Change,
    Ints,
    as_now,
    asked_anew,
    compare,
    decide,
    list_ends,
    listing,
    share_of,
    spliced,
)
from clockmill.compute.pairs import PairMatrix, accumulator, row_wedges
from clockmill.compute.ratings import Ratings
from clockmill.compute.scoring import LOG_LIKELIHOOD, Scoring
from clockmill.compute.similarity import compared
from db.digests import digest_rows

#: Above this part of the whole work, row by row, all pairs at once are sooner done.
WORTH = 0.2
#: Entries digested at a time: bounds memory.
CHUNK = 2_000_000


class Known(NamedTuple):
    """What is compared: a digest of each product's weighted feedback, and what every pair's score hangs on."""

    matrix: PairMatrix
    scoring: Scoring
    feedback: npt.NDArray[np.uint64]
    world: npt.NDArray[np.float64]


def know_ratings(ratings: Ratings, matrix: PairMatrix, scoring: Scoring) -> Known:
    world = np.array([scoring.users if scoring.kind == LOG_LIKELIHOOD else 0.0])
    return Known(matrix, scoring, _feedback(ratings, matrix), world)


def _feedback(ratings: Ratings, matrix: PairMatrix) -> npt.NDArray[np.uint64]:
    """The digests of the products' columns, as the kernels take them: by user the weighted value."""
    users = digest_rows([ratings.user_ids])
    indptr, digests = ratings.indptr, np.zeros(len(ratings.product_ids), np.uint64)
    cuts = np.unique(np.searchsorted(indptr, np.arange(0, indptr[-1] + CHUNK, CHUNK))).clip(max=len(digests)).tolist()
    for first, last in zip([0, *cuts], [*cuts, len(digests)], strict=True):
        some = slice(indptr[first], indptr[last])
        values = matrix.values[matrix.own[some]].astype(np.float64)
        sums = np.zeros(len(values) + 1, np.uint64)
        np.cumsum(digest_rows([users[ratings.users[some]].view(np.int64), values]), out=sums[1:])
        digests[first:last] = np.diff(sums[indptr[first : last + 1] - indptr[first]])
    return digests


def changed_products(ratings: Ratings, known: Known, min_support: int, basis: Basis) -> Change:
    """Whose lists can differ from those there are now."""
    before, ids = basis.arrays, ratings.product_ids
    if not np.array_equal(before["world"], known.world):
        return Change(None, "the number of users changed, on which every score hangs")
    now = compare(ids, known.feedback, before)
    label = np.argsort(known.matrix.order)
    costs = row_wedges(known.matrix)[label]
    marks = now.changed | asked_anew(ids, basis, now)
    if share_of(marks, costs) <= WORTH:
        marks |= listing(before, now)
        worst = as_now(before["worst"], now)[known.matrix.order]
        marks |= _reached(known, min_support, label[now.changed], worst)[label]
    return decide(ids, marks, costs, now, before, WORTH)


def what_is_reached(ratings: Ratings) -> npt.NDArray[np.bool_]:
    """Which products the first one reaches, had nothing been there before."""
    known = know_ratings(ratings, *compared(ratings))
    return _reached(known, 1, np.zeros(1, np.int64), np.zeros(len(ratings.product_ids)))


def _reached(known: Known, min_support: int, rows: Ints, worst: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """By label: who may have one of `rows` (labels) on the list."""
    marks = np.zeros(len(worst), np.bool_)
    matrix, scoring = known.matrix, known.scoring

    def work(first: int, last: int) -> None:
        sums, counts, touched, _ = accumulator(len(worst), matrix.values.dtype == np.int16)
        some = rows[first:last]
        reached_products(matrix, scoring, min_support, some, sums, counts, touched, worst, marks)

    run_blocks(work, equal_blocks(row_wedges(matrix)[rows]))
    return marks


def products_basis(ratings: Ratings, known: Known, k: int, before: Basis, change: Change, columns: Arrays) -> Arrays:
    """What the next run compares with: `columns` are the lists of `change.rows`, `before` that change's other side."""
    ids, own = ratings.product_ids, columns["support"] > 0
    new = list_ends(ids, k, columns["product_id"][own], columns["similar_id"][own], columns["score"][own])
    lists = new if change.rows is None else spliced(ids, before.arrays, change.rows, new)
    return {"ids": ids, "digests": known.feedback, "world": known.world, **lists}
