"""Friendships as a graph: every edge once, both directions, everything sorted."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clockmill.compute.graph_kernels import both_directions
from clockmill.compute.ids import Codes, Ids, IdsLike, as_ids, factorise, same_length


class DroppedEdges(NamedTuple):
    """Rows that are no edge of the graph: befriending oneself, or telling again what another row told."""

    self_loops: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Graph:
    """Undirected friendships: the friends of user number i are indices[indptr[i]:indptr[i + 1]], ascending.

    `ids` are ascending, so that numbers and ids have one order; `indices` holds both directions of each edge.
    """

    ids: Ids
    indptr: npt.NDArray[np.int64]
    indices: Codes
    dropped: DroppedEdges

    @property
    def degrees(self) -> npt.NDArray[np.int64]:
        """The number of friends of each user."""
        return np.diff(self.indptr)


def friendship_graph(user_id: IdsLike, friend_id: IdsLike) -> Graph:
    """The graph of rows (user, friend); an edge given twice, in either direction, counts once.

    Both columns are int64 or both are text, without NULL. Raises ValueError otherwise. A user whose only row is a
    self-loop stays in the graph, without friends.
    """
    users, others = as_ids("user_id", user_id), as_ids("friend_id", friend_id)
    same_length(user_id=users, friend_id=others)
    if users.dtype != others.dtype:
        raise ValueError("user_id and friend_id must be of one kind: both integers, or both text")
    ids, codes = factorise(np.concatenate([users, others]))
    edges, dropped = _distinct_edges(codes[: len(users)], codes[len(users) :], len(ids))
    low, high = np.divmod(edges, np.uint64(max(len(ids), 1)))
    indptr, indices = _both_directions(low.astype(np.uint32), high.astype(np.uint32), len(ids))
    return Graph(ids, indptr, indices, dropped)


def friends(graph: Graph) -> dict[str, npt.NDArray[Any]]:
    """Columns user_id and friend_id, both directions of each edge, ascending."""
    users = np.repeat(np.arange(len(graph.ids)), graph.degrees)
    return {"user_id": graph.ids[users], "friend_id": graph.ids[graph.indices]}


def mutual(graph: Graph, a: int | str, b: int | str) -> Ids:
    """The ids of the common friends of `a` and `b`, ascending; none for an id that is not in the graph."""
    common = np.intersect1d(_friends_of(graph, a), _friends_of(graph, b), assume_unique=True)
    return graph.ids[common]


def _friends_of(graph: Graph, user: int | str) -> Codes:
    if isinstance(user, str) != (graph.ids.dtype == np.object_):
        return graph.indices[:0]
    place = int(np.searchsorted(graph.ids, user))
    if place == len(graph.ids) or graph.ids[place] != user:
        return graph.indices[:0]
    return graph.indices[graph.indptr[place] : graph.indptr[place + 1]]


def _distinct_edges(a: Codes, b: Codes, n: int) -> tuple[npt.NDArray[np.uint64], DroppedEdges]:
    """Each edge as one number, lower end * n + higher end, ascending."""
    proper = a != b
    edges = np.minimum(a, b)[proper].astype(np.uint64) * np.uint64(n) + np.maximum(a, b)[proper]
    edges.sort()
    first = np.ones(len(edges), np.bool_)
    first[1:] = edges[1:] != edges[:-1]
    kept = edges[first]
    return kept, DroppedEdges(len(a) - len(edges), len(edges) - len(kept))


def _both_directions(low: Codes, high: Codes, n: int) -> tuple[npt.NDArray[np.int64], Codes]:
    """The friends of each user, ascending; the edges ascend by (low, high)."""
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(low, minlength=n) + np.bincount(high, minlength=n), out=indptr[1:])
    indices = np.empty(2 * len(low), np.uint32)
    both_directions(low, high, indptr[:-1].copy(), indices)
    return indptr, indices
