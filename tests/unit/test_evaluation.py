import math
from dataclasses import replace

import numpy as np
import pytest

from clockmill import evaluate
from clockmill.compute.evaluation import best_places, hold_out, lists_to_users, measure
from clockmill.errors import UsageError
from clockmill.evaluate import Split, Trial, best_of, evaluate_recommendations, evaluate_similarity

RANDOM = Split(share=0.25, by_time=False, seed=1, users=5000, places=10)
PARAMS = {"k": 20, "min_support": 1, "shrink": 0.0, "damp_user": 0.5, "damp_seed": 0.7, "damp_target": 0.4}


def quiet(share):
    pass


def test_a_share_of_each_users_rows_is_hidden():
    users = np.repeat([0, 1, 2], [8, 4, 1])
    assert np.bincount(users[hold_out(users, None, 0.25, seed=1)], minlength=3).tolist() == [2, 1, 0]


def test_by_time_the_latest_rows_are_hidden():
    at = np.array([5, 1, 9, 3, 2, 7])
    assert hold_out(np.array([0, 0, 0, 1, 1, 1]), at, 0.34, seed=1).tolist() == [False, False, True, False, False, True]


def test_nobody_loses_all_rows():
    assert hold_out(np.array([0, 0]), None, 0.9, seed=1).sum() == 1


def test_the_same_seed_hides_the_same_rows():
    users = np.zeros(100, np.int64)
    assert hold_out(users, None, 0.3, 7).tolist() == hold_out(users, None, 0.3, 7).tolist()
    assert hold_out(users, None, 0.3, 7).tolist() != hold_out(users, None, 0.3, 8).tolist()


def test_quality_can_be_worked_out_by_hand():
    # User 0 wanted 5 and 6 and was shown 5 second; user 1 wanted 7 and was shown nothing of it; user 2 wanted nothing.
    top = np.array([[4, 5, -1], [4, 3, 2], [1, 2, 3]])
    found = measure(top, np.array([0, 0, 1]), np.array([5, 6, 7]), np.array([0, 0, 2, 2, 6, 2, 1, 1]))
    second = 1 / math.log2(3)
    assert found.users == 2
    assert found.recall == pytest.approx((1 / 2 + 0) / 2)
    assert found.precision == pytest.approx((1 / 3 + 0) / 2)
    assert found.ndcg == pytest.approx(second / (1 + second) / 2)
    assert found.map == pytest.approx((1 / 2) / 2 / 2)
    assert found.hit_rate == 1 / 2
    assert found.coverage == 4 / 8
    assert found.popularity == pytest.approx((6 + 2 + 6 + 2 + 2) / 5 / ((2 + 1 + 1) / 3))


def test_the_best_places_are_positive_and_equal_ones_in_order():
    scores = np.array([[0.0, 2, 5, 2, -1]])
    assert best_places(scores, 4).tolist() == [[2, 1, 3, -1]]
    assert best_places(scores, 7).tolist() == [[2, 1, 3, -1, -1, -1, -1]]


def test_a_user_is_recommended_the_sum_of_the_lists_of_what_is_there_without_it():
    lists = {
        "product_id": np.array([0, 1, 1, 2]),
        "similar_id": np.array([2, 2, 0, 3]),
        "score": np.array([1, 2, 9, 1]),
    }
    top = lists_to_users(lists, np.array([0, 0, 1]), np.array([0, 1, 2]), np.array([0, 1]), n=4, places=2)
    assert top.tolist() == [[2, -1], [3, -1]]


def groups(size):
    """Users who have what their group has, all of it but one product."""
    rows = [(g * 100 + u, g * 100 + p) for g in range(6) for u in range(size) for p in range(6) if p != u % 6]
    users, items = np.array(rows).T
    return {"user_id": users, "product_id": items, "value": np.ones(len(rows)), "at": np.arange(len(rows))}


@pytest.mark.parametrize("settings", evaluate.SIMILARITY)
def test_what_a_group_likes_is_found_by_every_weighting_of_similarity(settings):
    (trial,) = evaluate_similarity(groups(12), [settings], PARAMS, RANDOM, quiet)
    assert trial.quality.hit_rate == 1


@pytest.mark.parametrize("settings", evaluate.RECOMMENDATIONS)
def test_a_friend_in_a_group_is_found_by_every_weighting(settings):
    low, high = np.triu_indices(12, 1)
    rows = {"user_id": np.concatenate([low, low + 50]), "friend_id": np.concatenate([high, high + 50])}
    (trial,) = evaluate_recommendations(rows, [settings], {}, RANDOM, quiet)
    assert trial.quality.recall == 1


def test_text_ids_and_a_sample_of_users_will_do():
    rows = groups(12)
    rows = {**rows, "user_id": rows["user_id"].astype(str).astype(object)}
    (trial,) = evaluate_similarity(rows, [{"weighting": "cosine"}], PARAMS, replace(RANDOM, users=5), quiet)
    assert trial.quality.users == 5


def test_progress_is_told_after_each_setting():
    told = []
    evaluate_similarity(groups(6), evaluate.SIMILARITY[:2], PARAMS, RANDOM, told.append)
    assert told == [0.5, 1.0]


def test_too_little_to_hide_is_said():
    rows = {"user_id": np.array([1]), "product_id": np.array([2]), "value": np.array([1.0])}
    with pytest.raises(UsageError, match="ratings: of 1 usable rows none can be hidden"):
        evaluate_similarity(rows, evaluate.SIMILARITY, PARAMS, RANDOM, quiet)


def test_the_best_setting_has_the_highest_ndcg():
    low = evaluate_similarity(groups(6), evaluate.SIMILARITY[:1], PARAMS, RANDOM, quiet)[0]
    high = Trial({"weighting": "better"}, low.quality._replace(ndcg=low.quality.ndcg + 0.1))
    assert best_of([low, high]).settings == {"weighting": "better"}
