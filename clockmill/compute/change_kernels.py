"""The loops of incremental builds."""

from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.heaps import CAUTION, Floats, Ints
from clockmill.compute.kernels import Numbers
from clockmill.compute.native import kernel
from clockmill.compute.pair_kernels import HALF, SHIFT, add_real, add_whole
from clockmill.compute.scoring import Scoring, score


@kernel
def reached(
    indptr: Ints,
    indices: Numbers,
    share: bool,
    rows: Ints,
    listed_ptr: Ints,
    owners: Ints,
    counts: Ints,
    same: npt.NDArray[np.bool_],
    worst: Floats,
    last: Ints,
    marks: npt.NDArray[np.bool_],
) -> None:
    """Marks the users on whose list one of `rows` stands otherwise than before, or comes.

    Every common friend counts 1; with `share` their part of all friends of either. Row r was on the lists of
    owners[listed_ptr[r]:listed_ptr[r + 1]], with so many friends in common (`counts`); where same[r], as many are the
    same ones. A full list ends with the score `worst` of the user `last`; the others have `worst` 0.
    """
    sums = np.zeros(indptr.size - 1, np.int64)
    listed = np.zeros(indptr.size - 1, np.bool_)
    touched = np.empty(indptr.size, np.uint32)
    for row in range(rows.size):
        i = rows[row]
        count = 0
        for j in indices[indptr[i] : indptr[i + 1]]:
            for c in indices[indptr[j] : indptr[j + 1]]:
                touched[count] = c
                count += sums[c] == 0
                sums[c] += 1
        sums[i] = 0
        for c in indices[indptr[i] : indptr[i + 1]]:
            sums[c] = 0
        for at in range(listed_ptr[row], listed_ptr[row + 1]):
            listed[owners[at]] = True
            if sums[owners[at]] != counts[at] or not same[row]:
                marks[owners[at]] = True
        degree = indptr[i + 1] - indptr[i]
        for c in touched[:count]:
            score = np.float64(sums[c])
            sums[c] = 0
            if score > 0.0 and not listed[c]:
                if share:
                    score /= degree + (indptr[c + 1] - indptr[c]) - score
                if score > worst[c] or (score == worst[c] and i < last[c]):
                    marks[c] = True
        for at in range(listed_ptr[row], listed_ptr[row + 1]):
            listed[owners[at]] = False


@kernel
def reached_products(
    matrix: Any,
    scoring: Scoring,
    min_support: int,
    rows: Ints,
    sums: Any,
    counts: Any,
    touched: Numbers,
    worst: Floats,
    marks: npt.NDArray[np.bool_],
) -> None:
    """Marks the products to which one of `rows` is a partner as good as the worst on their list; all are labels.

    `matrix` is a `clockmill.compute.pairs.PairMatrix`. Errs to the side of marking.
    """
    whole = counts.size == 0
    for i in rows:
        product = matrix.order[i]
        count = 0
        for at in range(matrix.indptr[product], matrix.indptr[product + 1]):
            user = matrix.users[at]
            start, stop = matrix.user_ptr[user], matrix.user_ptr[user + 1]
            partners, theirs = matrix.labels[start:stop], matrix.values[start:stop]
            value = matrix.values[np.int64(matrix.own[at])]
            if whole:
                count = add_whole(partners, theirs, np.int64(value), False, sums, touched, count)
            else:
                count = add_real(partners, theirs, value, sums, counts, touched, count)
        for at in range(count):
            c = np.int64(touched[at])
            if whole:
                packed = np.int64(sums[c])
                support = (packed + HALF) >> SHIFT
                dot = np.float64(packed - (support << SHIFT))
            else:
                support = np.int64(counts[c])
                dot = np.float64(sums[c])
                counts[c] = 0
            sums[c] = 0
            if support >= min_support and dot > 0.0 and not marks[c]:
                pair = score(scoring, dot, support, c, i)
                if pair > 0.0 and pair >= worst[c] * CAUTION:
                    marks[c] = True
