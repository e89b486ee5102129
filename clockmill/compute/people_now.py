"""The lists of a few people as they are after friendships came or went, from those people's surroundings alone.

A list hangs on the user's friends, on their friends, and on how many friends each of those has; with a share also on
how many friends the candidates have. So a small graph of the rows around them gives the same lists as the whole one,
but for the last bits of the scores, whose unit is drawn from the graph.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clockmill.compute.graphs import Graph, friendship_graph
from clockmill.compute.ids import Ids
from clockmill.compute.options import one_of
from clockmill.compute.recommendations import WEIGHTINGS, recommend

Id = int | str
Columns = Mapping[str, npt.NDArray[Any]]
#: How an id that is a number is written.
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
#: Friendships as columns user_id and friend_id, of these users, in that direction.
FriendsOf = Callable[[Sequence[Any]], Columns]


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


def befriended(friends: Columns, told: Mapping[tuple[Id, Id], bool]) -> dict[Id, list[Id]]:
    """The friends, ascending, of everybody in `told`: as in `friends` (both directions), then as told of each pair."""
    sets: dict[Id, set[Id]] = {user: set() for pair in told for user in pair}
    for user, friend in zip(friends["user_id"].tolist(), friends["friend_id"].tolist(), strict=True):
        if user in sets:
            sets[user].add(friend)
    for (user, friend), there in told.items():
        for one, other in ((user, friend), (friend, user)):
            (sets[one].add if there else sets[one].discard)(other)
    return {user: sorted(sets[user]) for user in sorted(sets)}


def friend_rows(ids: Ids, lists: Mapping[Id, Sequence[Id]]) -> dict[str, npt.NDArray[Any]]:
    """Columns user_id and friend_id; of the kind of `ids`."""
    users = [user for user, friends in lists.items() for _ in friends]
    others = [friend for friends in lists.values() for friend in friends]
    return {"user_id": np.array(users, ids.dtype), "friend_id": np.array(others, ids.dtype)}


def recommend_now(
    ids: Ids, lists: Mapping[Id, Sequence[Id]], friends_of: FriendsOf, weighting: str, k: int
) -> dict[str, npt.NDArray[Any]]:
    """Columns as those of `recommend`, for the people of `lists`, who have these friends; `friends_of` knows others'.

    Raises ValueError for an unknown weighting.
    """
    scheme = one_of("weighting", weighting, WEIGHTINGS)
    rows = [friend_rows(ids, lists)]
    known = set(lists)
    for _ in range(2 if scheme.share else 1):
        beyond = sorted({friend for part in rows for friend in part["friend_id"].tolist()} - known)
        part = friends_of(beyond)
        known.update(beyond)
        # What is told of the people asked about is newer than what their friends' rows say.
        told = np.isin(part["friend_id"], np.array(list(lists), ids.dtype))
        rows.append({name: values[~told] for name, values in part.items()})
    graph = _graph(rows)
    own = np.searchsorted(graph.ids, np.array([user for user, friends in lists.items() if friends], ids.dtype))
    return recommend(graph, weighting, k, threads=1, only=np.unique(own))


def _graph(rows: Sequence[Columns]) -> Graph:
    return friendship_graph(*(np.concatenate([part[name] for part in rows]) for name in ("user_id", "friend_id")))
