"""Lists that are made range by range, each by somebody else, are those that one makes alone, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clockmill.compute import (
    Damping,
    friendship_graph,
    ratings_matrix,
    recommend,
    recommend_range,
    similar_products,
    similar_range,
)
from clockmill.compute import dense_core as core
from clockmill.compute.blocks import equal_ranges
from clockmill.compute.recommendations import WEIGHTINGS as PEOPLE
from clockmill.compute.weightings import WEIGHTINGS as PRODUCTS


def divide_by(count, work):
    """Hands each range to `work`, the last one first, with copies of what there is: nothing is shared by accident."""

    def divide(arrays, costs, facts):
        ranges = equal_ranges(costs, count)
        assert [first for first, _ in ranges] == [0, *(last for _, last in ranges)][:-1]
        parts = [
            work({name: values.copy() for name, values in arrays.items()}, facts, *rows) for rows in reversed(ranges)
        ]
        return parts[::-1]

    return divide


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one
    )


edges = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=60)


@given(edges, st.sampled_from(sorted(PEOPLE)), st.integers(1, 4), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_recommendations_of_ranges_are_those_of_the_whole(rows, weighting, k, count):
    # Few people and small k: most scores are ties, and most of these are cut by k.
    graph = friendship_graph([a for a, _ in rows], [b for _, b in rows])
    divided = recommend(graph, weighting, k, divide=divide_by(count, recommend_range))
    assert same(divided, recommend(graph, weighting, k))


ratings = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 11), st.sampled_from((1.0, 2.0, 4.5, -1.0, 1 / 3))), max_size=70
)


@given(ratings, st.sampled_from(sorted(PRODUCTS)), st.integers(1, 4), st.integers(1, 3), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_similar_products_of_ranges_are_those_of_the_whole(rows, weighting, k, min_support, count):
    matrix = ratings_matrix(*(np.array([row[at] for row in rows]) for at in range(3)))
    options = (weighting, k, min_support, 2.0, Damping())
    divided = similar_products(matrix, *options, divide=divide_by(count, similar_range))
    assert same(divided, similar_products(matrix, *options))


@pytest.mark.parametrize("value", [1.0, 3.0])
def test_ranges_within_the_dense_core_and_across_its_tiles_and_end_agree(monkeypatch, value):
    random = np.random.default_rng(5)
    user, product = random.integers(0, 300, 120_000), (1400 * random.random(120_000) ** 2).astype(np.int64)
    values = np.full(len(user), value)
    values[::7] = 1.0
    matrix = ratings_matrix(user, product, values)
    sizes = []
    rows_of = core._allocated

    def noted(size, *others):
        sizes.append(size)
        return rows_of(size, *others)

    monkeypatch.setattr(core, "_allocated", noted)
    alone = similar_products(matrix, "cosine", 5)
    for count in (2, 7):
        assert same(similar_products(matrix, "cosine", 5, divide=divide_by(count, similar_range)), alone)
    assert min(sizes) > core.TILE, "the case is about a core of several tiles"


def test_only_some_lists_are_never_divided():
    graph = friendship_graph([1, 2, 3], [2, 3, 4])
    assert same(
        recommend(graph, only=np.array([0]), divide=None), recommend(graph, only=np.array([0]), divide=divide_by)
    )
