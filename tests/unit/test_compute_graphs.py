import numpy as np
import pytest

from clockmill.compute import friends, friendship_graph, mutual


def rows(graph):
    return list(zip(*(column.tolist() for column in friends(graph).values()), strict=True))


def test_an_edge_given_twice_counts_once():
    graph = friendship_graph([1, 1], [2, 2])
    assert rows(graph) == [(1, 2), (2, 1)]
    assert graph.dropped == (0, 1)


def test_an_edge_given_in_both_directions_counts_once():
    graph = friendship_graph([1, 2], [2, 1])
    assert rows(graph) == [(1, 2), (2, 1)]
    assert graph.dropped == (0, 1)


def test_a_self_loop_is_dropped_and_its_user_stays():
    graph = friendship_graph([7, 1], [7, 2])
    assert graph.ids.tolist() == [1, 2, 7]
    assert graph.degrees.tolist() == [1, 1, 0]
    assert graph.dropped == (1, 0)


def test_friends_are_sorted_by_user_then_friend():
    assert rows(friendship_graph([9, 2, 9], [5, 9, 1])) == [(1, 9), (2, 9), (5, 9), (9, 1), (9, 2), (9, 5)]


def test_no_rows_make_an_empty_graph():
    graph = friendship_graph([], [])
    assert len(graph.ids) == 0
    assert graph.indptr.tolist() == [0]
    assert rows(graph) == []


def test_negative_ids_and_ids_beyond_2_to_the_53_keep_their_value_and_order():
    big = 2**53 + 1
    graph = friendship_graph([big, -5], [big + 1, big])
    assert graph.ids.tolist() == [-5, big, big + 1]
    assert rows(graph) == [(-5, big), (big, -5), (big, big + 1), (big + 1, big)]


def test_ids_at_both_ends_of_the_range_do_not_overflow():
    low, high = -(2**63), 2**63 - 1
    assert rows(friendship_graph([low], [high])) == [(low, high), (high, low)]


def test_text_ids_are_ordered_by_their_utf8_bytes():
    names = ["zoë", "Zoe", "10", "9", "\U0001f600", "\uffee"]
    graph = friendship_graph(names[:3], names[3:])
    assert graph.ids.tolist() == sorted(names, key=str.encode)


def test_ids_close_together_and_far_apart_make_the_same_graph():
    user, friend = np.array([0, 1, 2, 3]), np.array([1, 2, 3, 0])
    near, far = friendship_graph(user, friend), friendship_graph(user * 10**12, friend * 10**12)
    assert near.indices.tolist() == far.indices.tolist()
    assert (near.ids * 10**12).tolist() == far.ids.tolist()


def test_mutual_lists_the_common_friends_by_id():
    graph = friendship_graph([1, 1, 1, 2, 2, 2], [3, 4, 2, 4, 3, 5])
    assert mutual(graph, 1, 2).tolist() == [3, 4]


@pytest.mark.parametrize("stranger", [0, 99, "1"])
def test_mutual_with_an_unknown_id_is_empty(stranger):
    assert mutual(friendship_graph([1, 1], [2, 3]), 1, stranger).tolist() == []


def test_mutual_of_text_ids():
    graph = friendship_graph(["a", "b", "b"], ["x", "x", "y"])
    assert mutual(graph, "a", "b").tolist() == ["x"]


@pytest.mark.parametrize(
    ("user", "friend", "said"),
    [
        ([1, 2], [3], "one length; seen: user_id 2, friend_id 1"),
        ([1], ["a"], "of one kind"),
        ([1.5], [2], "user_id must hold 64-bit integers or text"),
        ([1], [None], "friend_id must hold 64-bit integers or text only, without NULL"),
        ([1, "a"], [1, 2], "user_id must hold 64-bit integers or text"),
        ([2**64], [1], "user_id must hold 64-bit integers"),
        ([[1]], [1], "one column"),
    ],
)
def test_columns_that_are_no_ids_are_refused(user, friend, said):
    with pytest.raises(ValueError, match=said):
        friendship_graph(user, friend)
