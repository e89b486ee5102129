"""Whose recommendations can differ from those made before.

A list hangs on the user's friends, on their friends, and on what each of them weighs. Let D be the users whose friends
changed, and W those whose weight did. Two users outside D have the same friends in common as before. So where weights
follow from the number of friends, a list can have changed if its owner is in D or a friend of one in D or W; where
every friend counts 1, if its owner is in D, or one in D was on the list or is good enough to be.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.change_kernels import reached
from clockmill.compute.changes import (
    Arrays,
    Basis,
    Bools,
    Change,
    Compared,
    Ints,
    as_now,
    asked_anew,
    compare,
    decide,
    list_ends,
    share_of,
    spliced,
)
from clockmill.compute.graphs import Graph
from clockmill.compute.options import one_of
from clockmill.compute.ragged import entries_of, pointers, row_of_each
from clockmill.compute.recommendations import WEIGHTINGS, wedges, whole_weights
from db.digests import digest_rows, places

#: Above this part of the whole work it is not worth leaving anything out.
WORTH = 0.5


class Known(NamedTuple):
    """What is compared of a graph under a weighting: a digest of each user's friends, and each user's weight."""

    friends: npt.NDArray[np.uint64]
    weights: Ints
    unit: float
    #: Every friend counts 1.
    counts: bool
    share: bool


def know_graph(graph: Graph, weighting: str) -> Known:
    """Raises ValueError for an unknown weighting."""
    scheme = one_of("weighting", weighting, WEIGHTINGS)
    weights, unit = whole_weights(graph, scheme.weight)
    one = digest_rows([graph.ids])
    sums = np.zeros(len(graph.indices) + 1, np.uint64)
    np.cumsum(one[graph.indices], out=sums[1:])
    return Known(np.diff(sums[graph.indptr]), weights, unit, scheme.weight is np.ones_like, scheme.share)


def changed_people(graph: Graph, known: Known, basis: Basis) -> Change:
    """Whose recommendations can differ from those there are now."""
    before = basis.arrays
    if before["unit"][0] != known.unit:
        return Change(None, "the largest sum of weights needs another scale")
    compared, costs = compare(graph.ids, known.friends, before), wedges(graph)
    marks = compared.changed | asked_anew(graph.ids, basis, compared)
    if share_of(marks, costs) <= WORTH and known.counts:
        marks |= _reached(graph, known, before, compared)
    elif not known.counts:
        marks |= _friends_of(graph, compared.changed | (as_now(before["weights"], compared) != known.weights))
    return decide(graph.ids, marks, costs, compared, before, WORTH)


def who_is_reached(graph: Graph) -> Bools:
    """Whom the whole graph reaches, had nobody been there before."""
    known, nobody = know_graph(graph, "jaccard"), np.zeros(0, np.int64)
    ids = graph.ids[:0]
    nothing: dict[str, Any] = {
        "ids": ids,
        "digests": nobody.view(np.uint64),
        "found": nobody,
        "items": nobody.astype(np.uint32),
    }
    nothing |= {"counts": nothing["items"], "degrees": nothing["items"], "worst": np.zeros(0)}
    return _reached(graph, known, nothing, compare(ids=graph.ids, digests=known.friends, before=nothing))


def _friends_of(graph: Graph, users: Bools) -> Bools:
    marks = np.zeros(len(users), np.bool_)
    marks[graph.indices[entries_of(graph.indptr, np.flatnonzero(users))]] = True
    return marks


def _reached(graph: Graph, known: Known, before: Arrays, compared: Compared) -> Bools:
    """On whose list somebody changed, came or went, where every friend counts 1."""
    ids, found = graph.ids, before["found"]
    now, owners, items = places(ids, before["ids"]), row_of_each(pointers(found)), before["items"]
    marks = np.zeros(len(ids), np.bool_)
    lost = now[owners[now[items] < 0]]
    marks[lost[lost >= 0]] = True
    rows = np.flatnonzero(compared.changed)
    changed = np.append(compared.changed, False)
    listed = np.flatnonzero((now[owners] >= 0) & changed[now[items]])
    listed = listed[np.argsort(now[items[listed]], kind="stable")]
    ends = np.searchsorted(now[items[listed]], np.append(rows, len(ids)))
    full = found > 0
    last = np.zeros(len(found), np.int64)
    last[full] = now[items[np.cumsum(found)[full] - 1]]
    reached(
        graph.indptr,
        graph.indices,
        known.share,
        rows,
        ends,
        now[owners[listed]],
        before["counts"][listed].astype(np.int64),
        _one_friend_more_or_less(graph, known, before, compared, rows),
        as_now(before["worst"], compared),
        as_now(last, compared),
        marks,
    )
    return marks


def _one_friend_more_or_less(graph: Graph, known: Known, before: Arrays, compared: Compared, rows: Ints) -> Bools:
    """To which of `rows` one friend came, or from which one went: if as many are in common, they are the same ones.

    By the sum of the friends' digests, which moved by one person's. A share hangs on the number of friends as well.
    """
    if known.share:
        return np.zeros(len(rows), np.bool_)
    anybody = digest_rows([np.concatenate([graph.ids, before["ids"]])])
    more = graph.degrees[rows] - as_now(before["degrees"], compared)[rows].astype(np.int64)
    moved = (known.friends - as_now(before["digests"], compared))[rows]
    one: Bools = ((more == 1) & np.isin(moved, anybody)) | ((more == -1) & np.isin(np.uint64(0) - moved, anybody))
    return one


def people_basis(graph: Graph, known: Known, k: int, before: Basis, change: Change, columns: Arrays) -> Arrays:
    """What the next run compares with: `columns` are the lists of `change.rows`, `before` that change's other side."""
    own = columns["mutual_count"] > 0
    new = list_ends(graph.ids, k, columns["user_id"][own], columns["candidate_id"][own], columns["score"][own])
    new["counts"] = columns["mutual_count"][own].astype(np.uint32)
    lists = new if change.rows is None else spliced(graph.ids, before.arrays, change.rows, new)
    kept = {"ids": graph.ids, "digests": known.friends, "unit": np.array([known.unit]), "found": lists["found"]}
    if not known.counts:
        return {**kept, "weights": known.weights}
    rest = {name: lists[name] for name in ("items", "worst", "counts")}
    return {**kept, **rest, "degrees": graph.degrees.astype(np.uint32)}
