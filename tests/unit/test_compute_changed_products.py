"""Incremental lists of similar products are those of a full build, to the last bit, after any edits."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clockmill.compute import product_changes as products
from clockmill.compute.changes import everything
from clockmill.compute.product_changes import changed_products, know_ratings, products_basis
from clockmill.compute.ratings import ratings_matrix
from clockmill.compute.similarity import compared, similar_products
from clockmill.compute.weightings import WEIGHTINGS


def matrix(rows, name=int):
    """Ratings {(user, product): value}."""
    listed = [(name(user), name(product), value) for (user, product), value in sorted(rows.items())]
    return ratings_matrix(*(list(zip(*listed, strict=True)) if listed else ([], [], [])))


def by_owner(columns):
    lists = {}
    for row in zip(*(values.tolist() for values in columns.values()), strict=True):
        lists.setdefault(row[0], []).append(row)
    return lists


class Products:
    """Lists that are kept up to date over edits, as the job does it."""

    def __init__(self, weighting, k=3, min_support=1, shrink=0.0):
        self.options = {"weighting": weighting, "k": k, "min_support": min_support, "shrink": shrink, "threads": 1}
        self.before, self.lists = {}, {}

    def build(self, ratings, renewed=()):
        prepared = compared(ratings, self.options["weighting"], self.options["shrink"])
        known = know_ratings(ratings, *prepared)
        basis = SimpleNamespace(arrays=self.before, renewed=renewed)
        least = self.options["min_support"]
        change = changed_products(ratings, known, least, basis) if self.before else everything("first")
        columns = similar_products(ratings, only=change.rows, prepared=prepared, **self.options)
        self.before = products_basis(ratings, known, self.options["k"], basis, change, columns)
        replaced = change.keys(ratings.product_ids)
        kept = {k: v for k, v in self.lists.items() if k not in replaced} if replaced is not None else {}
        self.lists = kept | by_owner(columns)
        return change

    def afresh(self, ratings):
        return by_owner(similar_products(ratings, **self.options))


PAIRS = st.tuples(st.integers(0, 7), st.integers(0, 9))
VALUES = [st.sampled_from([1.0, 2.0, 5.0]), st.sampled_from([0.5, 1.0, -2.0]), st.floats(0.1, 1e3)]


@pytest.mark.parametrize("name", [lambda n: n * 5 - 12, lambda n: f"no {n}"], ids=["numbers", "texts"])
@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS))
def test_similar_products_after_edits_are_those_of_a_full_build(weighting, name, monkeypatch):
    monkeypatch.setattr(products, "WORTH", 2)

    @settings(max_examples=50, deadline=None)
    @given(st.data(), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.0, 3.0]))
    def follow(data, k, min_support, shrink):
        ratings = st.dictionaries(PAIRS, data.draw(st.sampled_from(VALUES)), max_size=40)
        rows = data.draw(ratings)
        kept = Products(weighting, k, min_support, shrink)
        kept.build(matrix(rows, name))
        for _ in range(2):
            added, removed = data.draw(ratings), data.draw(st.lists(PAIRS, max_size=10))
            rows = {pair: value for pair, value in rows.items() if pair not in removed}
            rows |= dict(list(added.items())[:3])
            kept.build(matrix(rows, name))
            assert kept.lists == kept.afresh(matrix(rows, name))

    follow()


@pytest.fixture
def shop():
    """Twenty groups of products that nobody bought across."""
    drawn = np.random.default_rng(1).integers(1, 6, (20, 6, 5))
    return {
        (group * 10 + user, group * 10 + product): float(drawn[group, user, product])
        for group in range(20)
        for user in range(6)
        for product in range(5)
    }


@pytest.mark.parametrize("weighting", sorted(set(WEIGHTINGS) - {"bm25"}))
def test_one_new_rating_leaves_other_groups_alone(weighting, shop):
    kept = Products(weighting)
    kept.build(matrix(shop))
    del shop[31, 32]
    change = kept.build(matrix(shop))
    assert change.rows is not None, change.why
    assert set(matrix(shop).product_ids[change.rows].tolist()) <= {30, 31, 32, 33, 34}
    assert kept.lists == kept.afresh(matrix(shop))


def test_a_weighting_by_what_everybody_does_is_built_whole(shop):
    kept = Products("bm25")
    kept.build(matrix(shop))
    shop[31, 32] += 1
    assert kept.build(matrix(shop)).why == "100 changes reach 100% of the work"


def test_a_user_more_changes_every_log_likelihood(shop):
    kept = Products("log_likelihood")
    kept.build(matrix(shop))
    shop[999, 32] = 1.0
    assert kept.build(matrix(shop)).why == "the number of users changed, on which every score hangs"


def test_values_on_a_finer_scale_are_other_values(shop):
    kept = Products("cosine")
    kept.build(matrix(shop))
    shop[31, 32] = 0.5
    assert kept.build(matrix(shop)).rows is None
    assert kept.lists == kept.afresh(matrix(shop))


def test_nothing_changed_nothing_is_computed(shop):
    kept = Products("cosine")
    kept.build(matrix(shop))
    assert kept.build(matrix(shop)).rows.tolist() == []


def test_digests_do_not_hang_on_the_chunks_they_are_made_in(shop, monkeypatch):
    ratings = matrix({**shop, (1, 999): 1.0})
    known = know_ratings(ratings, *compared(ratings, "cosine", 0.0))
    monkeypatch.setattr(products, "CHUNK", 7)
    assert np.array_equal(know_ratings(ratings, *compared(ratings, "cosine", 0.0)).feedback, known.feedback)
    assert len(set(known.feedback.tolist())) == len(ratings.product_ids)
