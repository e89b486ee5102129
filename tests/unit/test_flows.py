"""Rates, ages and times to drain, from what processes noted in the last minute."""

import pytest

from clockmill.exchange.flows import drain_s, state_of
from db.flows import Seen

MINUTE = Seen(seconds=60, settled=600, failed=3, dead=2, busy_s=30.0, hands=4, lag_s=12.0, first_depth=400)


def test_a_queue_that_shrinks_is_drained_at_the_difference_of_its_rates():
    state = state_of("q", 100, MINUTE)
    assert (state.rate_out, state.rate_in) == (10.0, 5.0)
    assert state.drain_s == 20.0
    assert (state.oldest_s, state.failed, state.dead) == (12.0, 3, 2)


def test_the_hands_that_are_needed_follow_from_the_incoming_rate_and_the_work_of_each():
    state = state_of("q", 400, MINUTE)
    assert (state.rate_in, state.hands_needed, state.hands) == (10.0, 0.5, 4)


def test_an_empty_queue_is_drained_and_nothing_in_it_is_old():
    state = state_of("q", 0, MINUTE)
    assert (state.drain_s, state.oldest_s) == (0.0, None)


def test_of_a_queue_that_nobody_consumes_no_rate_is_known():
    state = state_of("q", 7, None)
    assert (state.depth, state.rate_in, state.rate_out, state.drain_s) == (7, None, None, None)


def test_a_queue_that_is_not_there_has_no_depth():
    assert state_of("q", None, None).depth is None


@pytest.mark.parametrize(
    ("depth", "rate_in", "rate_out", "seconds"),
    [(10, 1.0, 2.0, 10.0), (10, 2.0, 2.0, None), (10, 3.0, 2.0, None), (0, 3.0, 2.0, 0.0), (None, 1.0, 2.0, None)],
)
def test_what_grows_is_never_drained(depth, rate_in, rate_out, seconds):
    assert drain_s(depth, rate_in, rate_out) == seconds
