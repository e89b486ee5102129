"""Input that would cost the square of its size, or the range of a number, if it were not thought of."""

import numpy as np
import pytest

from clockmill.compute import friendship_graph, or_popular_people, ratings_matrix, recommend, similar_products
from clockmill.compute.recommendations import WEIGHTINGS

LONG = [f"{'x' * 196}{n:04}" for n in range(3)]


def pairs(columns, first, second):
    return list(zip(columns[first].tolist(), columns[second].tolist(), strict=True))


def test_in_a_complete_graph_of_3000_nobody_has_a_candidate():
    graph = friendship_graph(*np.triu_indices(3_000, 1))
    assert len(or_popular_people(graph, recommend(graph), 20, None)["user_id"]) == 0


def test_in_a_star_of_500000_everybody_is_shown_another():
    points = np.arange(1, 500_001)
    columns = recommend(friendship_graph(np.zeros_like(points), points), k=1)
    assert columns["candidate_id"][:3].tolist() == [2, 1, 1]
    assert len(columns["user_id"]) == 500_000


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_in_a_star_everybody_is_shown_the_first_others(weighting):
    points = np.arange(1, 2_001)
    columns = recommend(friendship_graph(np.zeros_like(points), points), weighting, k=3)
    assert columns["candidate_id"][:12].tolist() == [2, 3, 4, 1, 3, 4, 1, 2, 4, 1, 2, 3]
    assert columns["candidate_id"][-3:].tolist() == [1, 2, 3]
    assert set(columns["mutual_count"].tolist()) == {1}


def test_who_knows_one_alone_is_shown_the_least_known_first_by_jaccard():
    # 1 knows only 2; of the others whom 2 knows 3 has three friends, 4 has one.
    columns = recommend(friendship_graph([1, 2, 2, 3, 3], [2, 3, 4, 5, 6]), "jaccard")
    assert [c for u, c in pairs(columns, "user_id", "candidate_id") if u == 1] == [4, 3]
    assert columns["score"][:2].tolist() == [1, 1 / 3]


def test_one_user_with_a_million_ratings_costs_nothing_where_nobody_else_rated():
    user = np.concatenate([np.zeros(1_000_000, np.int64), [1, 2, 1, 2]])
    product = np.concatenate([np.arange(1_000_000), [5, 5, 9, 9]])
    columns = similar_products(ratings_matrix(user, product), k=2, min_support=2)
    assert pairs(columns, "product_id", "similar_id") == [(5, 9), (9, 5)]
    assert columns["support"].tolist() == [3, 3]


def test_a_product_that_nobody_rated_is_in_no_list():
    ratings = ratings_matrix([1, 2, 1, 2, 3], [7, 7, 8, 8, 9], [1.0, 2, 3, 4, np.nan])
    assert pairs(similar_products(ratings), "product_id", "similar_id") == [(7, 8), (8, 7)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_values_that_say_nothing_do_not_spoil_the_others(value):
    ratings = ratings_matrix([1, 2, 3, 1, 2, 3], [7, 7, 7, 8, 8, 8], [1, 2, value, 1, 2, value])
    columns = similar_products(ratings)
    assert columns["score"].tolist() == pytest.approx([1, 1])
    assert columns["support"].tolist() == [2, 2]


@pytest.mark.parametrize("ids", [[-5, 2**53 + 1, 2**53 + 2], [-(2**63), 0, 2**63 - 1], LONG])
def test_ids_of_any_size_come_back_as_they_were(ids):
    a, b, c = ids
    assert pairs(recommend(friendship_graph([a, b], [b, c])), "user_id", "candidate_id") == sorted([(a, c), (c, a)])
    columns = similar_products(ratings_matrix([a, b, a, b], [a, a, c, c]))
    assert pairs(columns, "product_id", "similar_id") == sorted([(a, c), (c, a)])
