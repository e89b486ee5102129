"""Which weighting finds again what was hidden: the lists of both jobs, measured on the user's own tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute import Damping, friendship_graph, ratings_matrix, recommend, similar_products
from clockmill.compute.evaluation import Quality, as_rows, hold_out, lists_to_users, measure
from clockmill.compute.ids import as_ids, factorise
from clockmill.errors import UsageError

Rows = Mapping[str, npt.NDArray[Any]]
Ints = npt.NDArray[np.int64]
#: Told the part of the work that is done.
Progress = Callable[[float], object]

#: Settings that are compared of each job when none are named. Further ones of "damped" differ in how they damp.
RECOMMENDATIONS: tuple[dict[str, Any], ...] = tuple(
    {"weighting": name} for name in ("common_neighbours", "jaccard", "adamic_adar", "resource_allocation")
)
SIMILARITY: tuple[dict[str, Any], ...] = (
    *({"weighting": name} for name in ("cosine", "jaccard", "dice", "tf_idf", "bm25", "log_likelihood")),
    {"weighting": "damped", "damp_user": 0.5, "damp_seed": 0.7, "damp_target": 0.4},
    {"weighting": "damped", "damp_user": 0.5, "damp_seed": 0.7, "damp_target": 0.3},
    {"weighting": "damped", "damp_user": 0.5, "damp_seed": 0.5, "damp_target": 0.5},
)


@dataclass(frozen=True)
class Split:
    """What is hidden: `share` of the rows, the latest ones `by_time`, else by chance; what of up to `users` is sought.

    `places` is the length of the lists in which it is sought.
    """

    share: float
    by_time: bool
    seed: int
    users: int
    places: int


@dataclass(frozen=True)
class Trial:
    """A setting of a job's parameters, and how good its lists were."""

    settings: Mapping[str, Any]
    quality: Quality


def evaluate_recommendations(
    rows: Rows, trials: Sequence[Mapping[str, Any]], params: Mapping[str, Any], split: Split, progress: Progress
) -> list[Trial]:
    """Hides friendships, recommends friends of friends by what is left, and looks for the hidden ones."""
    ids, codes = _codes(rows["user_id"], rows["friend_id"])
    low, high = np.minimum(*codes), np.maximum(*codes)
    _, first = np.unique(low * max(len(ids), 1) + high, return_index=True)
    first = first[low[first] != high[first]]
    low, high, at = low[first], high[first], _at(rows, split)
    hidden = hold_out(np.zeros(len(first), np.int64), None if at is None else at[first], split.share, split.seed)
    _something("friendships", hidden)
    graph = friendship_graph(low[~hidden], high[~hidden])
    popularity = np.zeros(len(ids), np.int64)
    popularity[graph.ids] = graph.degrees
    asked, sought = np.concatenate([low[hidden], high[hidden]]), np.concatenate([high[hidden], low[hidden]])
    kept = np.isin(asked, _some(asked, split))

    def quality(settings: Mapping[str, Any]) -> Quality:
        lists = recommend(graph, settings["weighting"], split.places)
        top = as_rows(lists["user_id"], lists["candidate_id"], lists["rank"], len(ids), split.places)
        return measure(top, asked[kept], sought[kept], popularity)

    return _each(trials, quality, progress)


def evaluate_similarity(
    rows: Rows, trials: Sequence[Mapping[str, Any]], params: Mapping[str, Any], split: Split, progress: Progress
) -> list[Trial]:
    """Hides ratings, and looks for them in the summed lists of all that is left of each user."""
    finite = np.isfinite(rows["value"]) & (rows["value"] != 0)
    users = _codes(rows["user_id"][finite])[1][0]
    items, products = _codes(rows["product_id"][finite])[1][0], len(np.unique(rows["product_id"][finite]))
    values, at = rows["value"][finite], _at(rows, split)
    hidden = hold_out(users, None if at is None else at[finite], split.share, split.seed)
    _something("ratings", hidden)
    # What a user has, and rates again, is no find.
    pairs = users * max(products, 1) + items
    sought = hidden & ~np.isin(pairs, pairs[~hidden])
    ratings = ratings_matrix(users[~hidden], items[~hidden], values[~hidden])
    popularity = np.bincount(items[~hidden], minlength=products)
    asked = _some(users[sought], split)
    place = np.searchsorted(asked, users)
    sought &= np.isin(users, asked)

    def quality(settings: Mapping[str, Any]) -> Quality:
        options = {**params, **settings}
        damping = Damping(*(options.pop(f"damp_{name}") for name in Damping._fields))
        lists = similar_products(ratings, damping=damping, **options)
        top = lists_to_users(lists, users[~hidden], items[~hidden], asked, products, split.places)
        return measure(top, place[sought], items[sought], popularity)

    return _each(trials, quality, progress)


def best_of(trials: Iterable[Trial]) -> Trial:
    """The one with the highest nDCG; of equal ones the first."""
    return max(trials, key=lambda trial: trial.quality.ndcg)


def _codes(*columns: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], list[Ints]]:
    ids, codes = factorise(as_ids("id", np.concatenate(columns)))
    return ids, [part.astype(np.int64) for part in np.split(codes, len(columns))]


def _at(rows: Rows, split: Split) -> npt.NDArray[Any] | None:
    return rows["at"] if split.by_time else None


def _some(users: Ints, split: Split) -> Ints:
    everybody = np.unique(users)
    if len(everybody) <= split.users:
        return everybody
    return np.sort(np.random.default_rng(split.seed).choice(everybody, split.users, replace=False))


def _something(source: str, hidden: npt.NDArray[np.bool_]) -> None:
    if not hidden.any():
        raise UsageError(
            f"{source}: of {len(hidden)} usable rows none can be hidden; there must be more, or a larger --share"
        )


def _each(
    trials: Sequence[Mapping[str, Any]], quality: Callable[[Mapping[str, Any]], Quality], progress: Progress
) -> list[Trial]:
    found = []
    for number, settings in enumerate(trials, 1):
        found.append(Trial(settings, quality(settings)))
        progress(number / len(trials))
    return found
