"""A graph of friendships with some lists replaced: what a few events change, without building the whole anew."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.graphs import Graph
from clockmill.compute.ids import Ids

Id = int | str
Lists = Mapping[Any, Sequence[Any]]
#: How an id that is a number is written.
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")


def id_like(ids: Ids, value: Any) -> Id:
    """An id as those of `ids` are written. Raises ValueError for one that cannot be among them."""
    if ids.dtype == np.object_:
        return str(value)
    if not WHOLE.fullmatch(str(value)) or not -(2**63) <= (number := int(value)) < 2**63:
        raise ValueError(f"{str(value)[:40]!r} is no id here; ids are whole numbers of 64 bits")
    return number


def pair_like(ids: Ids | None, user: Any, friend: Any) -> tuple[Any, Any]:
    """Two ids as those of `ids`, or as they are where there are none yet. Raises ValueError for no two people."""
    pair = (user, friend) if ids is None else (id_like(ids, user), id_like(ids, friend))
    if type(pair[0]) is not type(pair[1]):
        raise ValueError(f"{pair[0]!r} and {pair[1]!r} are not ids of one kind: numbers, or texts")
    if pair[0] == pair[1]:
        raise ValueError(f"user {pair[0]} cannot be a friend of themselves")
    return pair


def befriended(graph: Graph, told: Mapping[tuple[Id, Id], bool]) -> dict[Id, list[Id]]:
    """The friends, ascending, of everybody in `told`: as in the graph, then as told of each pair."""
    users = sorted({user for pair in told for user in pair})
    sets = {user: set(friends_in(graph, user)) for user in users}
    for (user, friend), there in told.items():
        for one, other in ((user, friend), (friend, user)):
            (sets[one].add if there else sets[one].discard)(other)
    return {user: sorted(friends) for user, friends in sets.items()}


def friends_in(graph: Graph, user: Id) -> list[Any]:
    place = int(np.searchsorted(graph.ids, user))
    if place == len(graph.ids) or graph.ids[place] != user:
        return []
    return graph.ids[graph.indices[graph.indptr[place] : graph.indptr[place + 1]]].tolist()  # type: ignore[no-any-return]


def friend_lists(columns: Mapping[str, npt.NDArray[Any]], users: Sequence[Id]) -> dict[Id, list[Id]]:
    """The friends of each of these users, by columns user_id and friend_id in which each stands with all friends."""
    lists: dict[Id, list[Id]] = {user: [] for user in users}
    for user, friend in zip(columns["user_id"].tolist(), columns["friend_id"].tolist(), strict=True):
        lists[user].append(friend)
    return lists


def friend_rows(ids: Ids, lists: Lists) -> dict[str, npt.NDArray[Any]]:
    """Columns user_id and friend_id; of the kind of `ids`."""
    users = [user for user, friends in lists.items() for _ in friends]
    others = [friend for friends in lists.values() for friend in friends]
    return {"user_id": np.array(users, ids.dtype), "friend_id": np.array(others, ids.dtype)}


def with_friends(graph: Graph, lists: Lists) -> Graph:
    """The graph in which these people have these friends. `lists` has everybody whose friends are others than before.

    Who has no friend any more stays in it, without any.
    """
    everybody = {*lists, *(friend for friends in lists.values() for friend in friends)}
    graph = _with_ids(graph, np.array(sorted(everybody), graph.ids.dtype))
    owners = np.searchsorted(graph.ids, np.array(sorted(lists), graph.ids.dtype))
    parts, degrees, done = [], graph.degrees.copy(), 0
    for owner, user in zip(owners.tolist(), sorted(lists), strict=True):
        parts.append(graph.indices[done : graph.indptr[owner]])
        parts.append(np.searchsorted(graph.ids, np.array(sorted(lists[user]), graph.ids.dtype)).astype(np.uint32))
        degrees[owner], done = len(lists[user]), int(graph.indptr[owner + 1])
    indptr = np.zeros(len(graph.ids) + 1, np.int64)
    np.cumsum(degrees, out=indptr[1:])
    return replace(graph, indptr=indptr, indices=np.concatenate([*parts, graph.indices[done:]]))


def _with_ids(graph: Graph, some: npt.NDArray[Any]) -> Graph:
    place = np.minimum(np.searchsorted(graph.ids, some), max(len(graph.ids) - 1, 0))
    fresh = some if not len(graph.ids) else some[graph.ids[place] != some]
    if not len(fresh):
        return graph
    ids = np.sort(np.concatenate([graph.ids, fresh]))
    number = np.searchsorted(ids, graph.ids)
    degrees = np.zeros(len(ids), np.int64)
    degrees[number] = graph.degrees
    indptr = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(degrees, out=indptr[1:])
    return replace(graph, ids=ids, indptr=indptr, indices=number[graph.indices].astype(np.uint32))


def numbers(graph: Graph, users: Sequence[Id]) -> npt.NDArray[np.int64]:
    """The numbers, ascending, of those of these users who have friends."""
    place = np.searchsorted(graph.ids, np.array(sorted(users), graph.ids.dtype))
    return place[graph.degrees[place] > 0]
