"""Every weighting of similarity beside the plain dense formula, on matrices small enough to read or to spell out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clockmill.compute import Damping, dense_core, ratings_matrix, similar_products
from clockmill.compute.weightings import WEIGHTINGS

#: Users 1 to 4 and their stars: tea has 1, 2, 3; cup has 1, 2, 4; pot has 2.
SHOP = ([1, 2, 3, 1, 2, 4, 2], ["tea"] * 3 + ["cup"] * 3 + ["pot"], [3, 4, 5, 4, 3, 2, 5])


def entries(matrix, weighting, damping):
    """What each rating counts, users in rows, written out."""
    rated = matrix != 0
    held = np.maximum(rated.sum(axis=1), 1)[:, None]
    rarity = np.log((1 + matrix.shape[1]) / (1 + held)) + 1
    if weighting == "cosine":
        return matrix
    if weighting == "tf_idf":
        return matrix * rarity
    if weighting == "bm25":
        length = np.abs(matrix).sum(axis=0)
        norm = 1.2 * (0.25 + 0.75 * length / max(length.sum() / max(rated.any(axis=0).sum(), 1), 1e-300))
        return rarity * np.sign(matrix) * 2.2 * np.abs(matrix) / (norm + np.abs(matrix))
    if weighting == "damped":
        return rated * held ** (-damping.user / 2)
    return rated.astype(float)


def dense_scores(matrix, weighting, damping):
    """All products by all products: row the product that is asked about, column the one that is listed."""
    weighted = entries(matrix, weighting, damping)
    dot = weighted.T @ weighted
    degree = (matrix != 0).sum(axis=0).astype(float)
    pair = degree[:, None] + degree
    with np.errstate(all="ignore"):
        if weighting == "jaccard":
            return dot / (pair - dot)
        if weighting == "dice":
            return 2 * dot / pair
        if weighting == "damped":
            return dot / (degree[:, None] ** damping.seed * degree**damping.target)
        if weighting == "log_likelihood":
            return log_likelihood(dot, degree, np.count_nonzero((matrix != 0).any(axis=1)))
        norm = np.sqrt(np.diag(dot))
        return dot / (norm[:, None] * norm)


def log_likelihood(both, degree, users):
    def entropy(*cells):
        return sum(np.where(cell > 0, cell * np.log(np.where(cell > 0, cell, 1)), 0) for cell in cells)

    a, b = degree[:, None], degree
    a, b = np.broadcast_arrays(a, b)
    cells = entropy(both, a - both, b - both, users - a - b + both)
    score = 2 * (cells - entropy(a, users - a) - entropy(b, users - b) + entropy(np.full_like(both, users)))
    return np.where(both * users > a * b, score, 0)


def assert_agrees(user, product, value, weighting, k, min_support, shrink, damping, **options):
    ratings = ratings_matrix(user, product, value)
    columns = similar_products(ratings, weighting, k, min_support, shrink, damping, **options)
    matrix = np.zeros((len(ratings.user_ids), len(ratings.product_ids)))
    column = np.repeat(np.arange(len(ratings.product_ids)), np.diff(ratings.indptr))
    matrix[ratings.users, column] = ratings.values
    support = (matrix != 0).T.astype(int) @ (matrix != 0)
    scores = dense_scores(matrix, weighting, damping)
    if shrink:
        scores = scores * support / (support + shrink)
    scores[(support < min_support) | ~(scores > 1e-9)] = 0
    np.fill_diagonal(scores, 0)
    best = -np.sort(-scores, axis=1)[:, :k]
    ours = np.zeros_like(best)
    row = np.searchsorted(ratings.product_ids, columns["product_id"])
    partner = np.searchsorted(ratings.product_ids, columns["similar_id"])
    # Scores of nothing, but for rounding, are no scores.
    ours[row, columns["rank"] - 1] = np.where(columns["score"] > 1e-9, columns["score"], 0)
    np.testing.assert_allclose(ours, best, rtol=1e-9, atol=1e-9)
    real = columns["score"] > 1e-9
    np.testing.assert_allclose(columns["score"][real], scores[row, partner][real], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(columns["support"], support[row, partner])


def scores_of(weighting, **options):
    columns = similar_products(ratings_matrix(*SHOP), weighting, min_support=1, **options)
    pairs = zip(columns["product_id"].tolist(), columns["similar_id"].tolist(), strict=True)
    return dict(zip(pairs, columns["score"].tolist(), strict=True))


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("cosine", 24 / math.sqrt(50 * 29)),
        ("jaccard", 2 / 4),
        ("dice", 4 / 6),
        # Users 1 and 2 have 2 and 3 products: both counted by the root of that, over 3 ** 0.7 * 3 ** 0.4.
        ("damped", (1 / math.sqrt(2) + 1 / math.sqrt(3)) / 3**1.1),
    ],
)
def test_a_score_can_be_worked_out_by_hand(weighting, expected):
    assert scores_of(weighting)["tea", "cup"] == pytest.approx(expected)


def test_a_damped_score_hangs_on_which_product_was_asked_about():
    scores = scores_of("damped")
    assert scores["tea", "pot"] == pytest.approx(1 / math.sqrt(3) / 3**0.7)
    assert scores["pot", "tea"] == pytest.approx(1 / math.sqrt(3) / 3**0.4)


def test_without_exponents_a_damped_score_is_the_number_of_common_users():
    assert scores_of("damped", damping=Damping(0, 0, 0))["tea", "cup"] == 2


def test_products_met_together_as_often_as_by_chance_have_no_log_likelihood():
    # Of 4 users 2 have each product, and 1 both.
    columns = similar_products(ratings_matrix([1, 2, 2, 3, 4], [7, 7, 8, 8, 9]), "log_likelihood", min_support=1)
    assert columns["product_id"].tolist() == []


def test_shrinkage_multiplies_by_the_support_over_itself_and_the_constant():
    assert scores_of("cosine", shrink=3.0)["tea", "cup"] == pytest.approx(24 / math.sqrt(50 * 29) * 2 / 5)


def random_ratings(users, products, rows, seed=5):
    random = np.random.default_rng(seed)
    product = (products * random.random(rows) ** 2).astype(np.int64)
    return random.integers(0, users, rows), product, random.integers(1, 11, rows) / 2


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("shrink", [0.0, 7.5])
@pytest.mark.parametrize("values", [1, math.pi])
def test_lists_agree_with_the_plain_dense_formula(weighting, shrink, values):
    user, product, value = random_ratings(60, 50, 900)
    assert_agrees(user, product, value * values, weighting, 6, 3, shrink, Damping(0.4, 0.6, 0.2))


@pytest.mark.parametrize("size", [0, 1, 511, 600, 1_100])
@pytest.mark.parametrize("values", ["stars", "ones", "signed"])
def test_lists_are_the_same_whatever_the_size_of_the_core(size, values, monkeypatch):
    user, product, value = random_ratings(700, 1_100, 20_000)
    value = {"stars": value, "ones": np.ones(len(value)), "signed": value - 2.75}[values]
    ratings = ratings_matrix(user, product, value)
    expected = similar_products(ratings, k=5, min_support=3, only=np.arange(len(ratings.product_ids)))
    monkeypatch.setattr(dense_core, "_size", lambda matrix: min(size, len(matrix.order)))
    found = similar_products(ratings, k=5, min_support=3, threads=2)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_lists_of_some_products_are_the_same_as_among_all(weighting):
    ratings = ratings_matrix(*random_ratings(60, 50, 900))
    every, some = similar_products(ratings, weighting), similar_products(ratings, weighting, only=[3, 17, 40])
    wanted = np.isin(every["product_id"], ratings.product_ids[[3, 17, 40]])
    assert all(np.array_equal(every[name][wanted], some[name]) for name in every)


numbers = st.one_of(
    st.integers(-5, 5).map(float), st.sampled_from([0.5, 1.25, 0.1, 1e-3]), st.floats(-100, 100, allow_subnormal=False)
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 6), numbers), max_size=40),
    weighting=st.sampled_from(sorted(WEIGHTINGS)),
    k=st.integers(1, 4),
    min_support=st.integers(1, 3),
    shrink=st.sampled_from([0.0, 2.0]),
)
def test_any_ratings_agree_with_the_plain_dense_formula(rows, weighting, k, min_support, shrink):
    rows = [row for row in rows if abs(row[2]) > 1e-6]
    user, product, value = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    assert_agrees(user, product, value, weighting, k, min_support, shrink, Damping())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shrink": -1.0}, "shrink must be a number from 0 to 1e[+]09; seen: -1.0"),
        ({"shrink": math.nan}, "shrink must be a number"),
        ({"damping": Damping(user=3)}, "damp_user must be a number from 0 to 2; seen: 3"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        similar_products(ratings_matrix([1], [2]), **options)
