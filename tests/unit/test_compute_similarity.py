import math

import numpy as np
import pytest

from clockmill.compute import ratings_matrix, similar_products


def random_ratings(users=60, products=50, rows=900, seed=5):
    random = np.random.default_rng(seed)
    user = random.integers(0, users, rows)
    product = (products * random.random(rows) ** 2).astype(np.int64)
    return user, product, random.integers(1, 11, rows) / 2


def dense_lists(user, product, value, weighting, k, min_support):
    """The obvious twin: all products by all products, then a sort of each row."""
    matrix = np.zeros((user.max() + 1, product.max() + 1))
    matrix[user, product] = value
    rated = (matrix != 0).astype(float)
    support = rated.T @ rated
    degree = rated.sum(axis=0)
    if weighting == "cosine":
        norm = np.sqrt((matrix**2).sum(axis=0))
        scores = matrix.T @ matrix / np.maximum(norm[:, None] * norm, 1e-300)
    else:
        scores = support / np.maximum(degree[:, None] + degree - support, 1)
    np.fill_diagonal(scores, 0)
    scores[support < min_support] = 0
    lists = []
    for i, row in enumerate(scores):
        best = sorted(np.flatnonzero(row > 0), key=lambda c: (-round(row[c], 12), c))[:k]
        lists += [(i, rank, c, row[c], support[i, c]) for rank, c in enumerate(best, start=1)]
    return lists


def lists(columns):
    return list(zip(*(columns[name].tolist() for name in ("product_id", "similar_id")), strict=True))


@pytest.mark.parametrize("weighting", ["cosine", "jaccard"])
@pytest.mark.parametrize("min_support", [1, 3])
@pytest.mark.parametrize("scale", [1, 0.1, -1, math.pi])
def test_lists_agree_with_the_plain_dense_product(weighting, min_support, scale):
    user, product, value = random_ratings()
    value *= scale
    columns = similar_products(ratings_matrix(user, product, value), weighting, k=6, min_support=min_support)
    expected = dense_lists(user, product, value, weighting, 6, min_support)
    assert columns["product_id"].tolist() == [row[0] for row in expected]
    assert columns["rank"].tolist() == [row[1] for row in expected]
    assert columns["similar_id"].tolist() == [row[2] for row in expected]
    assert columns["score"] == pytest.approx([row[3] for row in expected], rel=1e-12)
    assert columns["support"].tolist() == [row[4] for row in expected]


@pytest.mark.parametrize("weighting", ["cosine", "jaccard"])
@pytest.mark.parametrize("scale", [1, math.pi])
def test_any_number_of_threads_gives_the_same_bits(weighting, scale):
    user, product, value = random_ratings()
    ratings = ratings_matrix(user, product, value * scale)
    one, three = similar_products(ratings, weighting, threads=1), similar_products(ratings, weighting, threads=3)
    assert all(np.array_equal(one[name], three[name]) for name in one)


def test_the_cosine_of_two_products_is_the_cosine_of_their_columns():
    ratings = ratings_matrix([1, 2, 1, 2], ["tea", "tea", "cup", "cup"], [3, 4, 4, 3])
    columns = similar_products(ratings)
    assert lists(columns) == [("cup", "tea"), ("tea", "cup")]
    assert columns["score"] == pytest.approx([24 / 25, 24 / 25])
    assert columns["support"].tolist() == [2, 2]


def test_rows_without_a_value_count_as_one_each():
    columns = similar_products(ratings_matrix([1, 2, 1, 2, 3], [7, 7, 8, 8, 8]))
    assert columns["score"] == pytest.approx([2 / math.sqrt(6)] * 2)


def test_a_partner_with_too_few_common_users_is_left_out():
    ratings = ratings_matrix([1, 1, 2, 2, 3, 3], [7, 8, 7, 8, 7, 9])
    assert lists(similar_products(ratings)) == [(7, 8), (8, 7)]
    assert lists(similar_products(ratings, min_support=1)) == [(7, 8), (7, 9), (8, 7), (9, 7)]


def test_only_positive_scores_are_listed():
    assert lists(similar_products(ratings_matrix([1, 2, 1, 2], [7, 7, 8, 8], [1, -1, -1, 1]))) == []


def test_negative_values_can_make_a_positive_score():
    assert lists(similar_products(ratings_matrix([1, 2, 1, 2], [7, 7, 8, 8], [-1, -2, -1, -2]))) == [(7, 8), (8, 7)]


def test_equal_scores_are_ordered_by_id():
    ratings = ratings_matrix([1, 2] * 4, [4, 4, 3, 3, 2, 2, 1, 1])
    assert lists(similar_products(ratings, k=2))[:4] == [(1, 2), (1, 3), (2, 1), (2, 3)]


def test_products_with_the_same_feedback_have_a_cosine_of_exactly_one():
    values = [0.5, 3, 4.5] * 2
    assert similar_products(ratings_matrix([1, 2, 3] * 2, [7] * 3 + [8] * 3, values))["score"].tolist() == [1, 1]


def test_of_rows_of_one_pair_the_last_counts():
    ratings = ratings_matrix([1, 1, 2, 1], [7, 7, 7, 7], [5, 1, 2, 3])
    assert ratings.values.tolist() == [3, 2]
    assert ratings.dropped.replaced == 2


def test_values_that_are_not_finite_are_dropped_and_counted():
    ratings = ratings_matrix([1, 2, 3, 1], [7, 7, 7, 7], [5, math.nan, math.inf, math.nan])
    assert ratings.values.tolist() == [5]
    assert ratings.dropped == (3, 0, 0)


def test_a_last_value_of_zero_takes_the_feedback_back():
    ratings = ratings_matrix([1, 1, 2], [7, 7, 7], [5, 0, 4])
    assert ratings.values.tolist() == [4]
    assert ratings.dropped == (0, 1, 1)


def test_a_product_with_zeros_only_is_similar_to_nothing():
    assert lists(similar_products(ratings_matrix([1, 2, 1, 2], [7, 7, 8, 8], [0, 0, 1, 1]), min_support=1)) == []


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_values_of_any_size_keep_their_cosine(scale):
    values = np.array([3, 4, 4, 3]) * scale
    columns = similar_products(ratings_matrix([1, 2, 1, 2], [7, 7, 8, 8], values))
    assert columns["score"] == pytest.approx([24 / 25, 24 / 25])


def test_no_feedback_gives_no_rows():
    columns = similar_products(ratings_matrix([], [], []))
    assert {name: len(column) for name, column in columns.items()} == dict.fromkeys(columns, 0)


def test_one_user_makes_no_pair_of_support_two():
    assert lists(similar_products(ratings_matrix([1, 1], [7, 8], [5, 5]))) == []


def test_a_user_of_text_and_a_product_of_integers_go_together():
    ratings = ratings_matrix(["a", "b", "a", "b"], [-7, -7, 2**60, 2**60])
    assert lists(similar_products(ratings)) == [(-7, 2**60), (2**60, -7)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([1, 2], [3], [1, 2]), "one length; seen: user_id 2, product_id 1, value 2"),
        (([1], [2], ["five"]), "value must be a column of numbers"),
        (([1.5], [2], [1]), "user_id must hold"),
        (([1], [None], [1]), "product_id must hold"),
    ],
)
def test_wrong_columns_are_refused(columns, said):
    with pytest.raises(ValueError, match=said):
        ratings_matrix(*columns)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weighting": "magic"}, "weighting must be one of cosine, jaccard, dice, .*; seen: 'magic'"),
        ({"k": -1}, "k must be a whole number, 1 or more; seen: -1"),
        ({"min_support": 0}, "min_support must be a whole number"),
        ({"threads": True}, "threads must be a whole number"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        similar_products(ratings_matrix([1], [2]), **options)
