import numpy as np
import pytest

from clockmill.compute import (
    friendship_graph,
    or_popular_people,
    or_popular_products,
    ratings_matrix,
    recommend,
    similar_products,
)


def people(user_id, friend_id, k=20, only=None):
    graph = friendship_graph(user_id, friend_id)
    columns = or_popular_people(graph, recommend(graph, k=k, only=only), k, only)
    return list(zip(*(columns[name].tolist() for name in columns), strict=True))


def products(user_id, product_id, k=20, min_support=2):
    ratings = ratings_matrix(user_id, product_id)
    columns = or_popular_products(ratings, similar_products(ratings, k=k, min_support=min_support), k, None)
    return list(zip(*(columns[name].tolist() for name in columns), strict=True))


def test_somebody_without_a_candidate_is_shown_those_with_the_most_friends():
    # 1 and 2 know only each other; 4 has two friends.
    rows = people([1, 3, 4], [2, 4, 5], k=2)
    assert [row for row in rows if row[0] == 1] == [(1, 1, 4, 0.0, 0, "[]"), (1, 2, 3, 0.0, 0, "[]")]


def test_neither_oneself_nor_a_friend_is_shown_for_being_popular():
    # 4 is a friend of everybody in the star.
    assert [row[2] for row in people([4, 4, 4, 1], [5, 6, 7, 2]) if row[0] == 4] == [1, 2]


def test_a_short_list_stays_short():
    assert [row[2] for row in people([1, 2, 8], [2, 3, 9]) if row[0] == 1] == [3]


def test_in_a_complete_graph_nobody_is_left_to_be_shown():
    assert people(*np.triu_indices(8, 1)) == []


def test_the_popular_are_found_for_chosen_people_alone():
    graph = friendship_graph([1, 3, 4], [2, 4, 5])
    only = np.array([1])
    columns = or_popular_people(graph, recommend(graph, only=only), 20, only)
    assert set(columns["user_id"].tolist()) == {2}


def test_a_product_without_a_partner_is_shown_with_those_of_the_most_users():
    rows = products([1, 2, 1, 2, 3], ["cup", "cup", "tea", "tea", "pot"])
    assert [row for row in rows if row[0] == "pot"] == [("pot", 1, "cup", 0.0, 0), ("pot", 2, "tea", 0.0, 0)]
    assert [row[2] for row in rows if row[0] == "cup"] == ["tea"]


def test_a_product_that_nobody_likes_is_not_shown_for_being_popular():
    ratings = ratings_matrix([1, 2, 3], [7, 8, 9], [5, 5, 0])
    columns = or_popular_products(ratings, similar_products(ratings), 20, None)
    assert set(columns["similar_id"].tolist()) == {7, 8}


def test_without_anybody_there_is_nothing_to_show():
    assert people([], []) == []
    assert products([], []) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_tiny_shop_has_a_list_for_every_product(seed):
    random = np.random.default_rng(seed)
    users, bought = random.integers(0, 10, 80), random.integers(0, 50, 80)
    rows = products(users, bought)
    assert {row[0] for row in rows} == set(bought.tolist())
    assert {row[3] > 0 for row in rows if row[4] > 0} <= {True}
    assert {row[3] for row in rows if row[4] == 0} <= {0.0}
