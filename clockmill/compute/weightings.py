"""What a rating counts and how two products are compared: the weightings of similarity, all over one kernel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.ratings import Ratings
from clockmill.compute.scoring import COSINE, DICE, JACCARD, LOG_LIKELIHOOD, PRODUCT, Scoring

Floats = npt.NDArray[np.float64]

#: Of BM25: how soon a further star counts no more, and how much a product's popularity is held against it
#: (Robertson and Zaragoza, Foundations and Trends in Information Retrieval 3(4), 2009).
BM25_SATURATION = 1.2
BM25_LENGTH = 0.75

#: Sums of squares of smaller numbers, and of larger than one by this, fit a float64.
USUAL = 1e60


class Damping(NamedTuple):
    """Exponents of the weighting "damped": of the number of products of a user, and of the numbers of users of the
    product that is asked about and of the one that is listed. 0 does not damp at all."""

    user: float = 0.5
    seed: float = 0.7
    target: float = 0.4


@dataclass(frozen=True, slots=True)
class Weighting:
    """`entries` gives one number for each rating, whose products are summed up over common users; `kind` the formula.

    With `presence` a formula is of numbers of users, else of squared norms of the entries.
    """

    entries: Callable[[Ratings, Damping], Floats]
    kind: int
    presence: bool = False

    def scoring(self, degrees: Floats, squares: Floats, users: int, damping: Damping, shrink: float) -> Scoring:
        """The formula for products of these numbers of users and squared norms."""
        if self.kind == PRODUCT:
            held = np.maximum(degrees, 1)
            return Scoring(PRODUCT, held**-damping.seed, held**-damping.target, float(users), shrink)
        own = degrees if self.presence else squares
        return Scoring(self.kind, own, own, float(users), shrink)


def balanced(ratings: Ratings, damping: Damping) -> Floats:
    """The values, or where these are very large or small, each product's times a power of two: a cosine keeps.

    Squares of extreme values would leave the range of a float64. A power of two rounds nothing.
    """
    sizes = np.abs(ratings.values)
    if sizes.max(initial=1) < USUAL and sizes.min(initial=1) > 1 / USUAL:
        return ratings.values
    counts = np.diff(ratings.indptr)
    filled = ratings.indptr[:-1][counts > 0]
    _, exponents = np.frexp(np.maximum.reduceat(np.abs(ratings.values), filled))
    scaled: Floats = np.ldexp(ratings.values, -np.repeat(exponents, counts[counts > 0]))
    return scaled


def presence(ratings: Ratings, damping: Damping) -> Floats:
    """1 for every rating, whatever its value."""
    return np.ones(len(ratings.values))


def damped(ratings: Ratings, damping: Damping) -> Floats:
    """Presence, of which a user with many products gives each the less: two entries make held ** -damping.user."""
    return (held_by_user(ratings) ** (-damping.user / 2))[ratings.users]


def tf_idf(ratings: Ratings, damping: Damping) -> Floats:
    """The value, times the rarity of what the user does."""
    return balanced(ratings, damping) * rarity(ratings)[ratings.users]


def bm25(ratings: Ratings, damping: Damping) -> Floats:
    """The value, saturated the sooner the more a product has of it, times the rarity of what the user does."""
    values = np.abs(balanced(ratings, damping))
    counts = np.diff(ratings.indptr)
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    lengths = np.diff(sums[ratings.indptr])
    relative = lengths / max(lengths[counts > 0].mean() if counts.any() else 1, np.finfo(float).tiny)
    norm = np.repeat(BM25_SATURATION * (1 - BM25_LENGTH + BM25_LENGTH * relative), counts)
    saturated = values * (BM25_SATURATION + 1) / (norm + values)
    return np.sign(ratings.values) * saturated * rarity(ratings)[ratings.users]


def held_by_user(ratings: Ratings) -> Floats:
    """The number of products of each user, at least 1."""
    return np.maximum(np.bincount(ratings.users, minlength=len(ratings.user_ids)), 1).astype(np.float64)


def rarity(ratings: Ratings) -> Floats:
    """For each user log((1 + products) / (1 + products held)) + 1: never 0, so that tiny data has lists too."""
    return np.log((1 + len(ratings.product_ids)) / (1 + held_by_user(ratings))) + 1


WEIGHTINGS = {
    "cosine": Weighting(balanced, COSINE),
    "jaccard": Weighting(presence, JACCARD, presence=True),
    "dice": Weighting(presence, DICE, presence=True),
    "tf_idf": Weighting(tf_idf, COSINE),
    "bm25": Weighting(bm25, COSINE),
    "log_likelihood": Weighting(presence, LOG_LIKELIHOOD, presence=True),
    "damped": Weighting(damped, PRODUCT),
}
