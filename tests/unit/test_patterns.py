"""Patterns of event types, as a broker reads them."""

import pytest

from clockmill.exchange.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "type", "is_one"),
    [
        ("app.like.created", "app.like.created", True),
        ("app.like.created", "app.like", False),
        ("app.like.*", "app.like.created", True),
        ("app.like.*", "app.like", False),
        ("app.*.created", "app.like.created", True),
        ("app.*", "app.like.created", False),
        ("app.#", "app", True),
        ("app.#", "app.like.created", True),
        ("#", "anything.at.all", True),
        ("#.created", "app.like.created", True),
        ("#.created", "app.like.deleted", False),
        ("app.#.created", "app.created", True),
        ("app.#.like.*", "app.a.b.like.c", True),
        ("#.like.#", "a.like", True),
        ("#.#", "a", True),
        ("*.#", "a", True),
        ("*.*.#", "a", False),
    ],
)
def test_a_pattern_matches_as_in_a_topic_exchange(pattern, type, is_one):
    assert matches(pattern, type) is is_one
