"""A graph with some lists replaced is the graph that is built anew from the rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clockmill.compute.graph_edits import befriended, numbers, pair_like, with_friends
from clockmill.compute.graphs import friendship_graph
from clockmill.compute.recommendations import recommend

PAIRS = st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda pair: pair[0] < pair[1]))
INTS, TEXTS = np.zeros(0, np.int64), np.zeros(0, object)


def graph_of(pairs, kind):
    users, friends = ([kind(pair[n]) for pair in sorted(pairs)] for n in (0, 1))
    dtype = np.int64 if kind is int else object
    return friendship_graph(np.array(users, dtype), np.array(friends, dtype))


def named(graph):
    return {
        graph.ids[n]: graph.ids[graph.indices[graph.indptr[n] : graph.indptr[n + 1]]].tolist()
        for n in np.flatnonzero(graph.degrees).tolist()
    }


@pytest.mark.parametrize("kind", [int, str])
@settings(max_examples=60, deadline=None)
@given(before=PAIRS.filter(bool), after=PAIRS.filter(bool))
def test_an_edited_graph_is_the_one_built_anew(kind, before, after):
    told = {(kind(a), kind(b)): (a, b) in after for a, b in before ^ after}
    graph = graph_of(before, kind)
    lists = befriended(graph, told)
    edited, anew = with_friends(graph, lists), graph_of(after, kind)
    assert named(edited) == named(anew)
    mine = recommend(edited, k=5, only=numbers(edited, list(lists)))
    wanted = recommend(anew, k=5)
    kept = np.isin(wanted["user_id"], np.array(list(lists), anew.ids.dtype))
    assert {name: column[kept].tolist() for name, column in wanted.items()} == {
        name: column.tolist() for name, column in mine.items()
    }


def test_ids_are_taken_as_those_that_are_there():
    assert pair_like(INTS, 3, "17") == (3, 17)
    assert pair_like(TEXTS, 3, "x") == ("3", "x")
    assert pair_like(None, "ann", "bob") == ("ann", "bob")


@pytest.mark.parametrize(
    ("ids", "user", "friend", "why"),
    [
        (INTS, "03", 1, "'03' is no id here; ids are whole numbers of 64 bits"),
        (INTS, 2**63, 1, "'9223372036854775808' is no id here; ids are whole numbers of 64 bits"),
        (INTS, "7", 7, "user 7 cannot be a friend of themselves"),
        (None, 7, "x", "7 and 'x' are not ids of one kind: numbers, or texts"),
    ],
)
def test_what_is_no_pair_of_people_is_refused(ids, user, friend, why):
    with pytest.raises(ValueError, match=why[:20]) as caught:
        pair_like(ids, user, friend)
    assert str(caught.value) == why
