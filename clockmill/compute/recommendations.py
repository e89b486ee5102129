"""People you may know: friends of friends, scored by the friends in common."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute import kernels
from clockmill.compute.blocks import Arrays, Divide, Facts, Progress, equal_blocks, run_blocks
from clockmill.compute.graphs import DroppedEdges, Graph
from clockmill.compute.ids import Codes, Ids
from clockmill.compute.labels import Labels, by_falling_degree
from clockmill.compute.options import at_least, one_of
from clockmill.compute.ragged import entries_of, pointers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Weighting:
    """What a common friend counts, as a function of the friend's degree (at least 2), and whether to take the share."""

    weight: Callable[[Floats], Floats]
    share: bool = False


WEIGHTINGS = {
    "common_neighbours": Weighting(np.ones_like),
    "adamic_adar": Weighting(lambda degree: 1 / np.log(degree)),
    "resource_allocation": Weighting(lambda degree: 1 / degree),
    "jaccard": Weighting(np.ones_like, share=True),
}


#: Sums of weights stay below 2**62, within an int64 with a bit to spare for rounding.
SUM_BITS = 62


class ScoredGraph(NamedTuple):
    """A graph under a weighting: its friends as labels, and each user's weight as a whole number of units."""

    graph: Graph
    labelled: Codes
    labels: Labels
    weights: npt.NDArray[np.int64]
    unit: float
    share: bool


class _Lists(NamedTuple):
    """The lists of a range of users, one after another: `found` candidates a user."""

    found: npt.NDArray[np.int64]
    candidates: Codes
    scores: Floats
    mutual_counts: npt.NDArray[np.int64]
    mutual: Codes


def recommend(
    graph: Graph,
    weighting: str = "adamic_adar",
    k: int = 20,
    threads: int | None = None,
    progress: Progress | None = None,
    only: npt.NDArray[np.int64] | None = None,
    divide: Divide | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """The `k` best friends of friends of each user, best first, equal scores by ascending id.

    Columns of one length: user_id, rank (from 1), candidate_id, score, mutual_count, mutual_ids (the common friends
    with the smallest ids, at most three, as a JSON list). Users without a candidate have no rows. `only`: the same
    lists of these users alone, who are numbers in the graph, ascending. `divide`: has `recommend_range` carried out
    elsewhere, for all users. Raises ValueError.
    """
    at_least(1, k=k, threads=threads)
    if divide is not None and only is None:
        parts = [_Lists(**part) for part in divide(*_for_ranges(score_by(graph, weighting), k))]
        return _columns(graph.ids, graph.ids, _joined(parts))
    scored = score_by(graph, weighting) if only is None else score_some(graph, weighting, only)
    users, before = (np.arange(len(graph.ids)), 0) if only is None else (only, len(graph.ids))
    lists = _lists(scored, k, wedges(graph, only), before, threads, progress)
    return _columns(graph.ids[users], graph.ids, lists)


def _for_ranges(scored: ScoredGraph, k: int) -> tuple[Arrays, Ints, Facts]:
    """What `recommend_range` needs, and what each row costs."""
    graph, labels = scored.graph, scored.labels
    costs = wedges(graph)
    arrays: dict[str, npt.NDArray[Any]] = {
        "indptr": graph.indptr,
        "indices": graph.indices,
        "labelled": scored.labelled,
        "label": labels.label,
    }
    arrays |= {"order": labels.order, "weights": scored.weights, "wedges": costs}
    return arrays, costs, {"k": k, "unit": scored.unit, "share": scored.share}


def recommend_range(
    arrays: Arrays, facts: Facts, first: int, last: int, progress: Progress | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The lists of users first to last - 1, by numbers, on one thread: one element of what `divide` gives back."""
    # Ids are for whoever has them: here a user is a number.
    graph = Graph(arrays["order"], arrays["indptr"], arrays["indices"], DroppedEdges(0, 0))
    labels = Labels(arrays["label"], arrays["order"])
    scored = ScoredGraph(graph, arrays["labelled"], labels, arrays["weights"], facts["unit"], facts["share"])
    return _lists(scored, facts["k"], arrays["wedges"][first:last], first, 1, progress)._asdict()


def _lists(
    scored: ScoredGraph, k: int, costs: Ints, before: int, threads: int | None, progress: Progress | None
) -> _Lists:
    """The lists of as many rows as there are costs, from row `before` on."""

    def lists(first: int, last: int) -> _Lists:
        first, last = before + first, before + last
        return _with_reasons(scored.graph, first, last, *best_candidates(scored, k, first, last))

    return _joined(run_blocks(lists, equal_blocks(costs, threads), threads, progress))


def score_by(graph: Graph, weighting: str) -> ScoredGraph:
    """The graph with what the kernel needs to score by a weighting."""
    scheme = one_of("weighting", weighting, WEIGHTINGS)
    labels = by_falling_degree(graph.degrees)
    weights, unit = whole_weights(graph, scheme.weight)
    return ScoredGraph(graph, _relabelled(graph, labels), labels, weights, unit, scheme.share)


def score_some(graph: Graph, weighting: str, users: npt.NDArray[np.int64]) -> ScoredGraph:
    """The same for some users, who follow after all as rows of their own: each has the friends that they have.

    The order of the labels is that of the ids: to relabel everybody would cost more than it spares.
    """
    scheme = one_of("weighting", weighting, WEIGHTINGS)
    weights, unit = whole_weights(graph, scheme.weight)
    indptr = np.concatenate([graph.indptr, graph.indptr[-1] + pointers(graph.degrees[users])[1:]])
    indices = np.concatenate([graph.indices, graph.indices[entries_of(graph.indptr, users)]])
    numbers = np.concatenate([np.arange(len(graph.ids)), users]).astype(np.uint32)
    extended = replace(graph, indptr=indptr, indices=indices)
    return ScoredGraph(extended, indices, Labels(numbers, numbers), weights, unit, scheme.share)


def best_candidates(scored: ScoredGraph, k: int, first: int, last: int) -> tuple[npt.NDArray[np.int64], Codes, Floats]:
    """For users first to last - 1: how many candidates each has, then all candidates, then their scores."""
    found = np.zeros(last - first, np.int64)
    items = np.empty((last - first, k), np.uint32)
    scores = np.empty((last - first, k))
    kernels.friends_of_friends(
        scored.graph.indptr,
        scored.graph.indices,
        scored.labelled,
        scored.labels.label,
        scored.labels.order,
        scored.weights,
        scored.unit,
        scored.share,
        first,
        last,
        found,
        items,
        scores,
    )
    filled = np.arange(k) < found[:, None]
    return found, items[filled], scores[filled]


def _relabelled(graph: Graph, labels: Labels) -> Codes:
    """The friends of each user as labels, ascending: the accumulator is walked through in one direction."""
    users = np.repeat(np.arange(len(graph.ids), dtype=np.uint64), graph.degrees)
    entries = users << np.uint64(32) | labels.label[graph.indices]
    entries.sort()
    return (entries & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def whole_weights(graph: Graph, weight: Callable[[Floats], Floats]) -> tuple[npt.NDArray[np.int64], float]:
    """The weight of each user as a whole number of units; the unit is so small that no sum exceeds SUM_BITS."""
    weights = weight(np.maximum(graph.degrees, 2).astype(np.float64))
    if np.all(weights == 1):
        return np.ones(len(weights), np.int64), 1.0
    # A friend of degree 1 is common to nobody, but the kernel asks for positive weights.
    weights[graph.degrees < 2] = 0
    sums = np.zeros(len(graph.indices) + 1)
    np.cumsum(weights[graph.indices], out=sums[1:])
    largest = float(np.max(np.diff(sums[graph.indptr]), initial=1))
    bits = SUM_BITS - math.ceil(math.log2(largest))
    return np.maximum(np.rint(np.ldexp(weights, bits)).astype(np.int64), 1), math.ldexp(1, -bits)


def wedges(graph: Graph, only: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
    """For each user (of `only`) how many paths user - friend - friend of friend the kernel goes."""
    own, indptr, friends = graph.degrees, graph.indptr, graph.indices
    if only is not None:
        own, indptr, friends = own[only], pointers(own[only]), friends[entries_of(indptr, only)]
    done = np.zeros(len(friends) + 1, np.int64)
    np.cumsum(graph.degrees[friends], out=done[1:])
    return np.where((own > 1) & (own < len(graph.ids) - 1), np.diff(done[indptr]), 1)


def _with_reasons(
    graph: Graph, first: int, last: int, found: npt.NDArray[np.int64], candidates: Codes, scores: Floats
) -> _Lists:
    ends = np.concatenate([[0], np.cumsum(found)])
    counts = np.empty(len(candidates), np.int64)
    mutual = np.zeros((len(candidates), kernels.REASONS), np.uint32)
    kernels.common_friends(graph.indptr, graph.indices, first, last, ends, candidates, counts, mutual)
    return _Lists(found, candidates, scores, counts, mutual)


def _joined(parts: list[_Lists]) -> _Lists:
    empty = _Lists(
        np.empty(0, np.int64),
        np.empty(0, np.uint32),
        np.empty(0),
        np.empty(0, np.int64),
        np.empty((0, kernels.REASONS), np.uint32),
    )
    return _Lists(*map(np.concatenate, zip(empty, *parts, strict=True)))


def _columns(owners: Ids, ids: Ids, lists: _Lists) -> dict[str, npt.NDArray[Any]]:
    starts = np.cumsum(lists.found) - lists.found
    return {
        "user_id": np.repeat(owners, lists.found),
        "rank": np.arange(1, len(lists.candidates) + 1) - np.repeat(starts, lists.found),
        "candidate_id": ids[lists.candidates],
        "score": lists.scores,
        "mutual_count": lists.mutual_counts,
        "mutual_ids": json_lists(ids, lists.mutual_counts, lists.mutual),
    }


def json_lists(ids: Ids, counts: npt.NDArray[np.int64], numbers: Codes) -> npt.NDArray[np.object_]:
    """For each row a JSON text, the list of the ids of its first `counts` numbers."""
    words = list(map(str if ids.dtype == np.int64 else json.dumps, ids.tolist()))
    word_ends = np.concatenate([[0], np.cumsum(np.fromiter(map(len, words), np.int64, len(words)))])
    letters = np.frombuffer("".join(words).encode("ascii"), np.uint8).copy()
    ends = np.zeros(len(counts) + 1, np.int64)
    kernels.write_lists(letters, word_ends, counts, numbers, np.empty(0, np.uint8), ends[1:], True)
    text = np.empty(ends[-1], np.uint8)
    kernels.write_lists(letters, word_ends, counts, numbers, text, ends[1:], False)
    whole = text.tobytes().decode("ascii")
    cuts = ends.tolist()
    lists = np.empty(len(counts), np.object_)
    lists[:] = [whole[start:end] for start, end in pairwise(cuts)]
    return lists
