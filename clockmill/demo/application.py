"""A small social shop, made of one seed: people in communities, what they write, what they like and buy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from clockmill.demo.catalogue import CATEGORIES, PLACES, STYLES, TOPICS

Array = NDArray[Any]
Table = dict[str, Array]

SEED = 20261123
USERS = 20_000
PRODUCTS = len(CATEGORIES) * len(STYLES) * 5
RATINGS = 300_000

#: The application's history: two years that end here.
START, END = np.datetime64("2024-11-23T00:00:00"), np.datetime64("2026-11-23T00:00:00")

MEAN_DEGREE = 25.0
#: Edges that stay in a community, those that cross, and those that close a triangle of the others.
WITHIN, ACROSS, CLOSING = 0.60, 0.22, 0.18
#: Exponent of the wish for company: between 2 and 3 the mean exists and the busiest know hundreds.
TAIL = 2.3
MEAN_COMMUNITY = 80
#: Ratings that go to the few categories a person cares about.
FAITHFUL = 0.75


def generate(
    seed: int = SEED, users: int = USERS, ratings: int = RATINGS, base_url: str = "http://127.0.0.1:8099"
) -> dict[str, Table]:
    """The canonical sources as arrays by column; the same arguments give the same arrays.

    `ratings` is exact, other sizes follow from `users`. Feeds lie under `base_url`.
    """
    random = np.random.default_rng(seed)
    people = np.arange(1, users + 1)
    community = _communities(random, users)
    company = _company(random, users)
    posts = _posts(random, company)
    return {
        "users": {"user_id": people, "at": _times(random, users)},
        "friendships": _friendships(random, community, company),
        "posts": posts,
        "messages": _messages(random, community, company),
        "likes": _likes(random, company, len(posts["post_id"])),
        "products": _products(),
        "ratings": _ratings(random, community, ratings),
        **around(base_url),
    }


def around(base_url: str) -> dict[str, Table]:
    """What the application knows of the world: places, and the feeds of the HTTP source at `base_url`."""
    return {"places": _places(), "feeds": _feeds(base_url)}


def _feeds(base_url: str) -> Table:
    found = [(topic, f"{base_url}/feeds/{topic}.{kind}") for topic, (kinds, *_) in TOPICS.items() for kind in kinds]
    return {"topic": np.array([t for t, _ in found], object), "url": np.array([u for _, u in found], object)}


def _communities(random: Generator, users: int) -> Array:
    """The community of each person; a few are large, most are small."""
    count = max(2, users // MEAN_COMMUNITY)
    sizes = random.pareto(2.0, count) + 0.3
    community: Array = random.choice(count, size=users, p=sizes / sizes.sum())
    return community


def _company(random: Generator, users: int) -> Array:
    """How much company each person seeks, as a probability."""
    wish: Array = random.pareto(TAIL - 1, users) + 1
    # Above this the busiest would know everybody.
    wish = np.minimum(wish, wish.mean() * users**0.5 / 2)
    share: Array = wish / wish.sum()
    return share


def _friendships(random: Generator, community: Array, company: Array) -> Table:
    users = len(company)
    wanted = int(min(users * MEAN_DEGREE / 2, users * (users - 1) / 4))
    first = _within(random, community, company, int(wanted * WITHIN))
    second = _across(random, company, int(wanted * ACROSS))
    known = _pairs(users, np.concatenate([first, second]))
    closing = _closing(random, users, known, int(wanted * CLOSING))
    pairs = _pairs(users, np.concatenate([known, closing]))
    return {"user_id": pairs[:, 0] + 1, "friend_id": pairs[:, 1] + 1, "at": _times(random, len(pairs))}


def _within(random: Generator, community: Array, company: Array, count: int) -> Array:
    """Pairs of one community, each end in proportion to its wish for company."""
    order = np.argsort(community, kind="stable")
    reach = np.cumsum(company[order])
    ends = np.cumsum(np.bincount(community))
    upper = np.concatenate([[0.0], reach])[ends][community]
    lower = np.concatenate([[0.0], reach])[ends - np.bincount(community)][community]
    # Twice as many as wanted: the busiest pairs of a small community come up again and again.
    one = random.choice(len(company), size=2 * count, p=company)
    spot = lower[one] + random.random(2 * count) * (upper[one] - lower[one])
    other = order[np.minimum(np.searchsorted(reach, spot, side="right"), len(order) - 1)]
    return random.permutation(_pairs(len(company), np.stack([one, other], axis=1)))[:count]


def _across(random: Generator, company: Array, count: int) -> Array:
    return random.choice(len(company), size=(count, 2), p=company)


def _closing(random: Generator, users: int, pairs: Array, count: int) -> Array:
    """Friends of friends who meet: the two ends of random paths of two steps."""
    ends = np.concatenate([pairs, pairs[:, ::-1]])
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    start = np.concatenate([[0], np.cumsum(np.bincount(ends[:, 0], minlength=users))])
    step = ends[random.integers(len(ends), size=count)]
    middle = step[:, 1]
    beyond = start[middle] + (random.random(count) * (start[middle + 1] - start[middle])).astype(int)
    return np.stack([step[:, 0], ends[beyond, 1]], axis=1)


def _pairs(users: int, pairs: Array) -> Array:
    """Each pair once, the lower end first, nobody with themselves."""
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    codes = np.unique((low * users + high)[low != high])
    return np.stack(np.divmod(codes, users), axis=1)


def _posts(random: Generator, company: Array) -> Table:
    count = 2 * len(company)
    authors = random.choice(len(company), size=count, p=company) + 1
    return {"post_id": np.arange(1, count + 1), "user_id": authors, "at": np.sort(_times(random, count))}


def _messages(random: Generator, community: Array, company: Array) -> Table:
    pairs = _within(random, community, company, 2 * len(company))
    turned = random.random(len(pairs)) < 0.5
    times = np.sort(_times(random, len(pairs)))
    # The newest messages are those that nobody has opened yet.
    read = random.random(len(pairs)) < np.linspace(1.0, 0.5, len(pairs))
    return {
        "message_id": np.arange(1, len(pairs) + 1),
        "sender_id": np.where(turned, pairs[:, 0], pairs[:, 1]) + 1,
        "recipient_id": np.where(turned, pairs[:, 1], pairs[:, 0]) + 1,
        "read": read,
        "at": times,
    }


def _likes(random: Generator, company: Array, posts: int) -> Table:
    count = 4 * len(company)
    fame = 1 / (np.arange(posts) + 10.0) ** 0.8
    users = random.choice(len(company), size=count, p=(company + 1 / len(company)) / 2)
    liked = random.permutation(posts)[random.choice(posts, size=count, p=fame / fame.sum())]
    user, post = np.divmod(np.unique(users * posts + liked), posts)
    return {"user_id": user + 1, "post_id": post + 1, "at": _times(random, len(user))}


def _products() -> Table:
    names = [f"{style} {thing}" for things in CATEGORIES.values() for thing in things for style in STYLES]
    return {"product_id": np.arange(1, PRODUCTS + 1), "name": np.array(names, object)}


def _ratings(random: Generator, community: Array, count: int) -> Table:
    users = len(community)
    if count > users * PRODUCTS // 4:
        raise ValueError(f"{count} ratings are too many for {users} users and {PRODUCTS} products")
    tastes = _tastes(random, community)
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < count:
        pairs = np.union1d(pairs, _rated(random, users, tastes, count))
    user, product = np.divmod(np.sort(random.permutation(pairs)[:count]), PRODUCTS)
    return {
        "user_id": user + 1,
        "product_id": product + 1,
        "value": _values(random, user, product, tastes),
        "at": _times(random, count),
    }


def _tastes(random: Generator, community: Array) -> Array:
    """Three categories a person; one is that of most people around them."""
    categories = len(CATEGORIES)
    shared = random.integers(categories, size=community.max() + 1)[community]
    own = random.integers(categories, size=(len(community), 2))
    return np.concatenate([shared[:, None], own], axis=1)


def _rated(random: Generator, users: int, tastes: Array, count: int) -> Array:
    """Pairs of user and product as one number: busy users, popular products, mostly of a category one likes."""
    zeal = random.lognormal(0.0, 1.0, users)
    user = random.choice(users, size=count, p=zeal / zeal.sum())
    size = PRODUCTS // len(CATEGORIES)
    liked = tastes[user, random.integers(tastes.shape[1], size=count)]
    category = np.where(random.random(count) < FAITHFUL, liked, random.integers(len(CATEGORIES), size=count))
    fame = 1 / (np.arange(size) + 2.0)
    rank = random.choice(size, size=count, p=fame / fame.sum())
    # Which product of a category is the famous one: 7 has no factor in common with its size.
    place = (rank * 7 + category) % size
    pair: Array = user * PRODUCTS + category * size + place
    return pair


def _values(random: Generator, user: Array, product: Array, tastes: Array) -> Array:
    """Half stars: what a product is worth, a little more from those who care for its kind."""
    worth = random.normal(3.3, 0.5, PRODUCTS)
    cares = (tastes[user] == (product // (PRODUCTS // len(CATEGORIES)))[:, None]).any(axis=1)
    stars = worth[product] + np.where(cares, 0.6, -0.4) + random.normal(0.0, 0.7, len(user))
    return np.clip(np.round(stars * 2) / 2, 0.5, 5.0)


def _places() -> Table:
    points: Mapping[str, tuple[float, float]] = PLACES
    return {
        "place": np.array(list(points), object),
        "lat": np.array([lat for lat, _ in points.values()]),
        "lon": np.array([lon for _, lon in points.values()]),
    }


def _times(random: Generator, count: int) -> Array:
    """Instants of the history, as canonical tables keep them."""
    seconds = random.integers(int((END - START).astype(int)), size=count)
    return np.datetime_as_string(START + seconds, unit="s", timezone="UTC").astype(object)
