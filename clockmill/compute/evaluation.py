"""How good lists are: a part of what people did is hidden, and looked for in what is then recommended to them.

Everything here is of users and items as codes, 0, 1, 2 ...; a table `top` has one row a user, best first, -1 where
there is nothing more.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.ragged import pointers

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

#: Scores of so many pairs of user and item are held at a time: 64 MB.
PAIRS = 8_000_000


class Quality(NamedTuple):
    """Averages over the users of whom something was hidden.

    recall: the part of the hidden items that was listed. precision: the part of the places that held one. ndcg: as
    precision, earlier places counting more, against the best order (Järvelin and Kekäläinen, 2002). map: mean average
    precision. hit_rate: the users with at least one. coverage: the part of all items that is listed to anybody.
    popularity: how many people have a listed item, on average, as a multiple of the same of the hidden ones; above 1
    the lists are more popular than what people chose.
    """

    users: int
    recall: float
    precision: float
    ndcg: float
    map: float
    hit_rate: float
    coverage: float
    popularity: float


def hold_out(users: Ints, at: npt.NDArray[Any] | None, share: float, seed: int) -> Bools:
    """Marks `share` of each user's rows, rounded, never all: the latest by `at`, without it any, by chance."""
    chance = np.random.default_rng(seed).random(len(users))
    order = np.lexsort((chance, users) if at is None else (chance, at, users))
    counts = np.bincount(users)
    hidden = np.minimum(np.floor(share * counts + 0.5).astype(np.int64), np.maximum(counts - 1, 0))
    place = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    marks = np.zeros(len(users), np.bool_)
    marks[order] = place >= np.repeat(counts - hidden, counts)
    return marks


def measure(top: Ints, users: Ints, items: Ints, popularity: Ints) -> Quality:
    """The quality of `top`, whose rows are users, for the hidden pairs (users, items).

    popularity[item] counts the people who have the item among what was not hidden.
    """
    n, places = len(popularity), top.shape[1]
    wanted = np.bincount(users, minlength=len(top))
    asked = np.flatnonzero(wanted)
    rows = top[asked]
    hits = np.isin(asked[:, None] * n + rows, users * n + items) & (rows >= 0)
    gains = 1 / np.log2(np.arange(2, places + 2))
    ideal = np.concatenate([[0], np.cumsum(gains)])[np.minimum(wanted[asked], places)]
    precisions = np.cumsum(hits, axis=1) / np.arange(1, places + 1)
    found, listed = hits.sum(axis=1), rows[rows >= 0]
    return Quality(
        len(asked),
        _mean(found / wanted[asked]),
        _mean(found / places),
        _mean((hits * gains).sum(axis=1) / ideal),
        _mean((precisions * hits).sum(axis=1) / np.minimum(wanted[asked], places)),
        _mean(found > 0),
        len(np.unique(listed)) / max(n, 1),
        _mean(popularity[listed]) / max(_mean(popularity[items]), 1e-300),
    )


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if values.size else 0.0


def lists_to_users(
    lists: Mapping[str, npt.NDArray[Any]], users: Ints, items: Ints, asked: Ints, n: int, places: int
) -> Ints:
    """What similarity recommends: the sum of the lists of all that a user has, without what the user has.

    `lists` are the columns of `similar_products` over item codes below `n`; (users, items) is what users have. One row
    for each of `asked`.
    """
    from scipy.sparse import csr_array

    similar = csr_array((lists["score"], (lists["product_id"], lists["similar_id"])), shape=(n, n))
    everybody = int(max(users.max(initial=-1), asked.max(initial=-1))) + 1
    held = csr_array((np.ones(len(users)), (users, items)), shape=(everybody, n))
    batch = max(1, PAIRS // max(n, 1))
    tops = [np.empty((0, places), np.int64)]
    for first in range(0, len(asked), batch):
        own = held[asked[first : first + batch]]
        scores = (own @ similar).toarray()
        scores[own.nonzero()] = 0
        tops.append(best_places(scores, places))
    return np.concatenate(tops)


def best_places(scores: Floats, places: int) -> Ints:
    """The columns of each row's best positive scores, equal ones by ascending column."""
    some = min(places, scores.shape[1])
    best = np.sort(np.argpartition(-scores, some - 1, axis=1)[:, :some], axis=1)
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    top = np.take_along_axis(np.where(values > 0, best, -1), order, axis=1)
    return np.pad(top, ((0, 0), (0, places - some)), constant_values=-1)


def as_rows(users: Ints, items: Ints, ranks: Ints, n: int, places: int) -> Ints:
    """Lists given as columns, one row for each of `n` users."""
    top = np.full((n, places), -1)
    kept = ranks <= places
    top[users[kept], ranks[kept] - 1] = items[kept]
    return top


def by_user(users: Ints, n: int) -> tuple[Ints, Ints]:
    """Where each user's rows begin in `order`, and that order."""
    return pointers(np.bincount(users, minlength=n)), np.argsort(users, kind="stable")
