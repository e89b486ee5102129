import json
import math

import numpy as np
import pytest

from clockmill.compute import friendship_graph, recommend
from clockmill.compute.recommendations import WEIGHTINGS

# 1 and 4 have the friends 2 and 3 in common; 5 hangs on 4.
DIAMOND = ([1, 1, 2, 3, 4], [2, 3, 4, 4, 5])


def random_graph(n=120, edges=900, seed=3):
    random = np.random.default_rng(seed)
    # Squared, so that a few users have many friends.
    user, friend = (n * random.random((2, edges)) ** 2).astype(np.int64)
    return friendship_graph(user, friend)


def dense(graph):
    matrix = np.zeros((len(graph.ids), len(graph.ids)))
    matrix[np.repeat(np.arange(len(graph.ids)), graph.degrees), graph.indices] = 1
    return matrix


def dense_scores(graph, weighting):
    a = dense(graph)
    degree = a.sum(axis=1)
    if weighting == "jaccard":
        common = a @ a
        return common / np.maximum(degree[:, None] + degree - common, 1)
    weight = {
        "common_neighbours": np.ones_like(degree),
        "adamic_adar": 1 / np.log(np.maximum(degree, 2)),
        "resource_allocation": 1 / np.maximum(degree, 1),
    }[weighting]
    return (a * weight) @ a


def dense_lists(graph, weighting, k):
    """The obvious twin: the whole product, then a sort of each row."""
    scores = dense_scores(graph, weighting)
    scores[(dense(graph) + np.eye(len(graph.ids))) > 0] = 0
    lists = []
    for user, row in enumerate(scores):
        best = sorted(np.flatnonzero(row), key=lambda c: (-round(row[c], 12), c))[:k]
        lists += [(user, rank, c, row[c]) for rank, c in enumerate(best, start=1)]
    return lists


def pairs(columns):
    return list(zip(columns["user_id"].tolist(), columns["candidate_id"].tolist(), strict=True))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_lists_agree_with_the_plain_dense_product(weighting):
    graph = random_graph()
    columns = recommend(graph, weighting, k=7)
    expected = dense_lists(graph, weighting, k=7)
    assert np.searchsorted(graph.ids, columns["user_id"]).tolist() == [user for user, *_ in expected]
    assert columns["rank"].tolist() == [rank for _, rank, *_ in expected]
    assert np.searchsorted(graph.ids, columns["candidate_id"]).tolist() == [c for *_, c, _ in expected]
    assert columns["score"] == pytest.approx([score for *_, score in expected], rel=1e-12)


def test_reasons_agree_with_the_plain_dense_product():
    graph = random_graph()
    columns = recommend(graph, k=7)
    a = dense(graph)
    for user, candidate, count, ids in zip(
        *(columns[name].tolist() for name in ("user_id", "candidate_id", "mutual_count", "mutual_ids")), strict=True
    ):
        row, other = np.searchsorted(graph.ids, [user, candidate])
        common = graph.ids[(a[row] * a[other]) > 0].tolist()
        assert (count, json.loads(ids)) == (len(common), common[:3])


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_any_number_of_threads_gives_the_same_bits(weighting):
    graph = random_graph()
    one, three = recommend(graph, weighting, threads=1), recommend(graph, weighting, threads=3)
    assert all(np.array_equal(one[name], three[name]) for name in one)


def test_a_friend_of_friends_is_recommended_with_the_reasons():
    columns = recommend(friendship_graph(*DIAMOND))
    first = {name: column[0] for name, column in columns.items()}
    assert first == {
        "user_id": 1,
        "rank": 1,
        "candidate_id": 4,
        "score": 2 / math.log(2),
        "mutual_count": 2,
        "mutual_ids": "[2,3]",
    }


def test_friends_and_oneself_are_never_recommended():
    assert pairs(recommend(friendship_graph(*DIAMOND))) == [
        (1, 4),
        (2, 3),
        (2, 5),
        (3, 2),
        (3, 5),
        (4, 1),
        (5, 2),
        (5, 3),
    ]


def test_equal_scores_are_ordered_by_id():
    assert pairs(recommend(friendship_graph([0, 0, 0, 0], [40, 10, 30, 20]), k=2))[:4] == [
        (10, 20),
        (10, 30),
        (20, 10),
        (20, 30),
    ]


def test_equal_sums_of_weights_are_a_tie_in_whatever_order_they_are_added():
    # 90 and 91 share friends of degrees 2, 3, 5, 7 with 1: one meets them in rising, one in falling order.
    degrees = [2, 3, 5, 7, 7, 5, 3, 2]
    edges = [(1, 10 + n) for n in range(8)] + [(90, 10 + n) for n in range(4)] + [(91, 14 + n) for n in range(4)]
    edges += [(10 + n, 1000 + 10 * n + extra) for n, degree in enumerate(degrees) for extra in range(degree - 2)]
    columns = recommend(friendship_graph(*zip(*edges, strict=True)))
    assert columns["candidate_id"][:2].tolist() == [90, 91]
    assert columns["score"][0] == columns["score"][1]


def test_text_ids_are_written_as_json_text():
    columns = recommend(friendship_graph(["ann", "bob"], ['say "hi"', 'say "hi"']))
    assert columns["candidate_id"].tolist() == ["bob", "ann"]
    assert json.loads(columns["mutual_ids"][0]) == ['say "hi"']


def test_no_friendships_give_no_rows():
    columns = recommend(friendship_graph([], []))
    assert {name: len(column) for name, column in columns.items()} == dict.fromkeys(columns, 0)


def test_one_user_alone_has_no_rows():
    assert pairs(recommend(friendship_graph([1], [1]))) == []


def test_a_complete_graph_has_no_candidates():
    user, friend = np.triu_indices(8, 1)
    assert pairs(recommend(friendship_graph(user, friend))) == []


def test_a_star_recommends_its_points_to_each_other_but_nobody_to_its_centre():
    points = np.arange(1, 50_001)
    columns = recommend(friendship_graph(np.zeros_like(points), points), k=1)
    assert len(columns["user_id"]) == 50_000
    assert columns["candidate_id"][:3].tolist() == [2, 1, 1]
    assert set(columns["mutual_ids"].tolist()) == {"[0]"}


def test_negative_and_large_ids_are_written_in_full():
    columns = recommend(friendship_graph([-1, -1], [2**60, -(2**60)]))
    assert pairs(columns) == [(-(2**60), 2**60), (2**60, -(2**60))]
    assert columns["mutual_ids"].tolist() == ["[-1]", "[-1]"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weighting": "magic"}, "weighting must be one of common_neighbours, adamic_adar"),
        ({"k": 0}, "k must be a whole number, 1 or more; seen: 0"),
        ({"k": 2.5}, "k must be a whole number"),
        ({"threads": 0}, "threads must be a whole number"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        recommend(friendship_graph(*DIAMOND), **options)


def test_progress_grows_to_one():
    seen = []
    recommend(random_graph(), threads=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_an_error_of_progress_ends_the_computation():
    class Stop(Exception):
        pass

    def stop(fraction):
        raise Stop

    with pytest.raises(Stop):
        recommend(random_graph(), progress=stop)
