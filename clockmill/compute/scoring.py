"""How a dot product becomes the similarity of two products: a handful of formulas, one number each."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.native import kernel

Floats = npt.NDArray[np.float64]

#: The formulas of `score`. Numbers, since machine code kept on disk cannot name a function.
COSINE, JACCARD, DICE, LOG_LIKELIHOOD, PRODUCT = range(5)


class Scoring(NamedTuple):
    """A formula and what it needs of every product, by label.

    `seed` and `target` are the squared norm (COSINE), the number of users (JACCARD, DICE, LOG_LIKELIHOOD), or the
    factor of a product that is asked about and of one that is listed (PRODUCT). `users` is the number of all users;
    a score is multiplied by support / (support + shrink).
    """

    kind: int
    seed: Floats
    target: Floats
    users: float
    shrink: float


@kernel
def score(scoring: Scoring, dot: Any, support: Any, i: Any, c: Any) -> Any:
    """The similarity of c as a partner of i; 0 for no association."""
    kind = scoring.kind
    a, b = scoring.seed[i], scoring.target[c]
    if kind == COSINE:
        value = dot / np.sqrt(a * b)
    elif kind == JACCARD:
        value = dot / (a + b - dot)
    elif kind == DICE:
        value = 2.0 * dot / (a + b)
    elif kind == LOG_LIKELIHOOD:
        # Ordered, so that a pair has the same bits from either side.
        value = log_likelihood(float(support), min(a, b), max(a, b), scoring.users)
    else:
        value = dot * (a * b)
    if scoring.shrink > 0.0:
        value *= support / (support + scoring.shrink)
    return value


@kernel
def log_likelihood(both: float, a: float, b: float, users: float) -> float:
    """Dunning's ratio (Computational Linguistics 19(1), 1993) of the table of who has both, one or neither product.

    0 where the two are met together no more often than chance would have it.
    """
    if both * users <= a * b:
        return 0.0
    cells = entropy(both) + entropy(a - both) + entropy(b - both) + entropy(users - a - b + both)
    margins = entropy(a) + entropy(users - a) + entropy(b) + entropy(users - b)
    return 2.0 * max(cells + entropy(users) - margins, 0.0)


@kernel
def entropy(count: float) -> float:
    """count * log(count), 0 at 0."""
    return count * math.log(count) if count > 0.0 else 0.0


def reach(scoring: Scoring) -> tuple[Floats, Floats]:
    """Two factors of every product: c can be among the best of i only if dot * first[c] >= worst score * second[i].

    Both are by what the formula cannot exceed: a union is no smaller than one side, support shrinks a score only.
    """
    n = len(scoring.seed)
    if scoring.kind == COSINE:
        norms = np.sqrt(scoring.seed)
        return np.divide(1.0, norms, out=np.zeros(n), where=norms > 0), norms
    if scoring.kind == JACCARD:
        return np.ones(n), scoring.seed
    if scoring.kind == DICE:
        return np.ones(n), scoring.seed / 2
    if scoring.kind == PRODUCT:
        return scoring.target, np.divide(1.0, scoring.seed, out=np.zeros(n), where=scoring.seed > 0)
    return np.ones(n), np.zeros(n)
