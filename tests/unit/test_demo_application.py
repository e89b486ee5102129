import numpy as np
import pytest

from clockmill.demo.application import PRODUCTS, generate
from clockmill.demo.catalogue import CATEGORIES
from db.canonical import CANONICAL


@pytest.fixture(scope="module")
def small():
    return generate(seed=7, users=3_000, ratings=30_000)


def degrees(friendships, users):
    ends = np.concatenate([friendships["user_id"], friendships["friend_id"]])
    return np.bincount(ends, minlength=users + 1)[1:]


def unique_rows(*columns):
    return len(np.unique(np.stack(columns, axis=1), axis=0))


def test_the_same_seed_gives_the_same_application():
    one, two = (generate(seed=7, users=300, ratings=2_000) for _ in range(2))
    assert all((one[table][column] == two[table][column]).all() for table in one for column in one[table])


def test_another_seed_gives_another():
    one, two = (generate(seed=seed, users=300, ratings=2_000)["ratings"]["value"] for seed in (7, 8))
    assert (one != two).any()


def test_every_canonical_source_is_there_with_its_required_columns(small):
    assert set(small) == set(CANONICAL)
    assert all(CANONICAL[name].required <= set(table) <= set(CANONICAL[name].columns) for name, table in small.items())


def test_every_key_is_there_once(small):
    for name, table in small.items():
        _, key = np.unique(np.stack([table[c].astype(str) for c in CANONICAL[name].key]), axis=1, return_counts=True)
        assert key.max() == 1, name


def test_people_have_about_25_friends_and_some_have_hundreds(small):
    found = degrees(small["friendships"], 3_000)
    assert 20 < found.mean() < 26
    assert found.max() > 10 * found.mean()


def test_the_full_application_has_someone_with_more_than_500_friends():
    found = degrees(generate(ratings=1_000)["friendships"], 20_000)
    assert found.max() > 500


def test_nobody_is_their_own_friend_and_no_pair_comes_twice(small):
    low, high = small["friendships"]["user_id"], small["friendships"]["friend_id"]
    assert (low < high).all()
    assert unique_rows(low, high) == len(low)


def test_friends_of_friends_are_far_likelier_to_be_friends_than_strangers(small):
    low, high = small["friendships"]["user_id"] - 1, small["friendships"]["friend_id"] - 1
    known = np.zeros((3_000, 3_000), dtype=np.float32)
    known[low, high] = known[high, low] = 1
    paths = known @ known
    np.fill_diagonal(paths, 0)
    closed = (paths * known).sum() / paths.sum()
    assert closed > 8 * known.mean()


def test_ratings_are_exactly_as_many_as_asked_for(small):
    ratings = small["ratings"]
    assert len(ratings["value"]) == unique_rows(ratings["user_id"], ratings["product_id"]) == 30_000


def test_ratings_are_half_stars(small):
    stars = small["ratings"]["value"]
    assert set(np.unique(stars)) == set(np.arange(0.5, 5.5, 0.5))


def test_a_few_products_get_most_of_the_ratings(small):
    counts = np.sort(np.bincount(small["ratings"]["product_id"], minlength=PRODUCTS + 1))[::-1]
    assert counts[: PRODUCTS // 10].sum() > 0.35 * counts.sum()


def test_products_of_one_kind_are_rated_by_the_same_people(small):
    rated = np.zeros((3_000, PRODUCTS), dtype=np.float32)
    rated[small["ratings"]["user_id"] - 1, small["ratings"]["product_id"] - 1] = 1
    norm = np.sqrt(rated.sum(axis=0)) + 1e-9
    cosine = (rated.T @ rated) / norm[:, None] / norm
    np.fill_diagonal(cosine, 0)
    kind = np.arange(PRODUCTS) // (PRODUCTS // len(CATEGORIES))
    same = kind[:, None] == kind
    assert cosine[same].mean() > 2 * cosine[~same].mean()


def test_more_ratings_than_there_can_be_are_refused():
    with pytest.raises(ValueError, match="too many for 300 users"):
        generate(users=300, ratings=400_000)


def test_product_names_are_all_different(small):
    assert len(set(small["products"]["name"])) == PRODUCTS


def test_some_messages_wait_to_be_read_mostly_new_ones(small):
    read = small["messages"]["read"]
    half = len(read) // 2
    assert 0.5 < read[half:].mean() < read[:half].mean() < 1


def test_feeds_lie_under_the_base_url():
    urls = generate(users=300, ratings=10, base_url="http://127.0.0.1:7777")["feeds"]["url"]
    assert all(url.startswith("http://127.0.0.1:7777/feeds/") for url in urls)
