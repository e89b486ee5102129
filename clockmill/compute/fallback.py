"""The popular, for those whose list is empty. A short list stays short, and nobody's list is mixed.

Such a row has a score of 0 and a support (or a number of mutual friends) of 0, which no computed one has.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.graphs import Graph
from clockmill.compute.ids import Codes, Ids
from clockmill.compute.native import kernel
from clockmill.compute.ragged import pointers, row_of_each
from clockmill.compute.ratings import Ratings

Ints = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]


@kernel
def popular_others(indptr: Ints, indices: Codes, popular: Ints, rows: Ints, found: Ints, items: Ints) -> None:
    """For each of `rows` the first of `popular` that are neither itself nor among its indices."""
    own = np.full(indptr.size - 1, -1)
    for row in range(rows.size):
        i = rows[row]
        own[i] = row
        for j in indices[indptr[i] : indptr[i + 1]]:
            own[j] = row
        for candidate in popular:
            if found[row] == items.shape[1]:
                break
            if own[candidate] != row:
                items[row, found[row]] = candidate
                found[row] += 1


def or_popular_people(graph: Graph, lists: Columns, k: int, only: Ints | None) -> Columns:
    """`lists` of `recommend`, with the people of the most friends for those (of `only`) who have no candidate."""
    empty = _without(graph.ids, lists["user_id"], only)
    rows = _popular(graph.indptr, graph.indices, graph.degrees, empty, k)
    n = len(rows["row"])
    columns = {
        "user_id": graph.ids[rows["row"]],
        "rank": rows["rank"],
        "candidate_id": graph.ids[rows["item"]],
        "score": np.zeros(n),
        "mutual_count": np.zeros(n, np.int64),
        "mutual_ids": np.full(n, "[]", np.object_),
    }
    return _together(graph.ids, "user_id", lists, columns)


def or_popular_products(ratings: Ratings, lists: Columns, k: int, only: Ints | None) -> Columns:
    """`lists` of `similar_products`, with the products of the most users for those (of `only`) without a partner."""
    empty = _without(ratings.product_ids, lists["product_id"], only)
    nobody = np.zeros(len(ratings.product_ids) + 1, np.int64)
    rows = _popular(nobody, np.empty(0, np.uint32), np.diff(ratings.indptr), empty, k)
    n = len(rows["row"])
    columns = {
        "product_id": ratings.product_ids[rows["row"]],
        "rank": rows["rank"],
        "similar_id": ratings.product_ids[rows["item"]],
        "score": np.zeros(n),
        "support": np.zeros(n, np.int64),
    }
    return _together(ratings.product_ids, "product_id", lists, columns)


def _without(ids: Ids, owners: Ids, only: Ints | None) -> Ints:
    """The numbers (of `only`) that own no row."""
    empty = np.zeros(len(ids), np.bool_)
    empty[slice(None) if only is None else only] = True
    empty[np.searchsorted(ids, owners)] = False
    return np.flatnonzero(empty)


def _popular(indptr: Ints, indices: Codes, counts: Ints, rows: Ints, k: int) -> Mapping[str, Ints]:
    order = np.argsort(-counts, kind="stable")
    popular = order[counts[order] > 0]
    found, items = np.zeros(len(rows), np.int64), np.empty((len(rows), k), np.int64)
    popular_others(indptr, indices, popular, rows, found, items)
    row = row_of_each(pointers(found))
    rank = np.arange(1, len(row) + 1) - pointers(found)[row]
    return {"row": rows[row], "rank": rank, "item": items[row, rank - 1]}


def _together(ids: Ids, key: str, lists: Columns, more: Columns) -> Columns:
    if not len(more[key]):
        return lists
    columns = {name: np.concatenate([lists[name], more[name]]) for name in lists}
    order = np.argsort(np.searchsorted(ids, columns[key]), kind="stable")
    return {name: column[order] for name, column in columns.items()}
