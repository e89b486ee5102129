"""Incremental lists are those of a full build, to the last bit, after any edits."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clockmill.compute import people_changes as people
from clockmill.compute.changes import everything
from clockmill.compute.graphs import friendship_graph
from clockmill.compute.people_changes import changed_people, know_graph, people_basis
from clockmill.compute.recommendations import WEIGHTINGS, recommend


def edges(graph_rows, name):
    users, friends = zip(*sorted(graph_rows), strict=True) if graph_rows else ((), ())
    return friendship_graph([name(u) for u in users], [name(f) for f in friends])


class People:
    """Lists that are kept up to date over edits, as the job does it."""

    def __init__(self, weighting, k):
        self.weighting, self.k = weighting, k
        self.before, self.lists = {}, {}

    def build(self, graph, renewed=()):
        known = know_graph(graph, self.weighting)
        basis = SimpleNamespace(arrays=self.before, renewed=renewed)
        change = changed_people(graph, known, basis) if self.before else everything("first")
        columns = recommend(graph, self.weighting, self.k, threads=1, only=change.rows)
        self.before = people_basis(graph, known, self.k, basis, change, columns)
        replaced = change.keys(graph.ids)
        kept = {k: v for k, v in self.lists.items() if k not in replaced} if replaced is not None else {}
        self.lists = kept | by_owner(columns)
        return change


def by_owner(columns):
    lists = {}
    for row in zip(*(values.tolist() for values in columns.values()), strict=True):
        lists.setdefault(row[0], []).append(row)
    return lists


USERS = st.integers(0, 13)
EDGES = st.sets(st.tuples(USERS, USERS), max_size=40)
STEPS = st.lists(st.tuples(EDGES, EDGES), min_size=1, max_size=3)


@pytest.mark.parametrize("name", [lambda u: u * 7 - 20, lambda u: f"user {u}"], ids=["numbers", "texts"])
@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS))
def test_recommendations_after_edits_are_those_of_a_full_build(weighting, name, monkeypatch):
    monkeypatch.setattr(people, "WORTH", 2)

    @settings(max_examples=60, deadline=None)
    @given(EDGES, STEPS, st.integers(1, 4))
    def follow(rows, steps, k):
        kept = People(weighting, k)
        kept.build(edges(rows, name))
        for added, removed in steps:
            rows = (rows | set(list(added)[:3])) - set(list(removed)[:12])
            kept.build(edges(rows, name))
            assert kept.lists == by_owner(recommend(edges(rows, name), weighting, k, threads=1))

    follow()


@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS))
def test_one_new_friendship_leaves_far_lists_alone(weighting):
    ring = {(u, (u + step) % 200) for u in range(200) for step in (1, 2, 3)}
    kept = People(weighting, 2)
    kept.build(edges(ring, int))
    change = kept.build(edges(ring | {(10, 14)}, int))
    assert set(change.rows.tolist()) <= set(range(1, 24))
    assert change.why == f"2 changes reach {len(change.rows)} of 200 lists"
    assert kept.lists == by_owner(recommend(edges(ring | {(10, 14)}, int), weighting, 2))


def test_a_list_replaced_by_somebody_else_is_computed_again():
    ring = {(u, (u + 1) % 50) for u in range(50)}
    kept = People("adamic_adar", 2)
    kept.build(edges(ring, int))
    kept.lists[30] = []
    kept.build(edges(ring, int), renewed=[30, 99])
    assert kept.lists == by_owner(recommend(edges(ring, int), "adamic_adar", 2))


def test_nothing_changed_nothing_is_computed():
    ring = edges({(u, (u + 1) % 50) for u in range(50)}, int)
    kept = People("jaccard", 2)
    kept.build(ring)
    assert kept.build(ring).rows.tolist() == []


def test_when_too_much_changed_everything_is_built_and_the_reason_told():
    ring = {(u, (u + 1) % 50) for u in range(50)}
    kept = People("common_neighbours", 2)
    kept.build(edges(ring, int))
    change = kept.build(edges({(u, (u + 2) % 50) for u in range(50)}, int))
    assert (change.rows, change.why) == (None, "50 changes reach 100% of the work")


def test_weights_on_another_scale_ask_for_a_full_build():
    star = {(0, leaf) for leaf in range(1, 5)}
    kept = People("adamic_adar", 2)
    kept.build(edges(star, int))
    many = {(leaf, other) for leaf in range(10, 60) for other in range(60, 110)}
    assert kept.build(edges(star | many, int)).why == "the largest sum of weights needs another scale"


def test_lists_kept_through_an_incremental_build_are_those_a_full_one_keeps():
    ring = {(u, (u + step) % 60) for u in range(60) for step in (1, 2)}
    kept, afresh = People("jaccard", 3), People("jaccard", 3)
    kept.build(edges(ring, int))
    grown = edges(ring - {(5, 6)} | {(100, 7), (8, 12)}, int)
    assert kept.build(grown).rows is not None
    afresh.build(grown)
    for name, values in afresh.before.items():
        assert np.array_equal(kept.before[name], values), name
