"""What one process does about the runs it holds, without a database."""

from types import SimpleNamespace

import pytest

from clockmill import leases
from clockmill.leases import Holding, Leases
from db.overlap import AT_ONCE, BY_PERSON, GENTLY
from db.run import Claim

CLAIM = Claim(7, "mill", None, "m:1", "manual", 1, 0, 1, "me", {})


def holding(end):
    return Holding(CLAIM, end, until_us=0)


def test_a_job_is_asked_to_end_once_and_once_more_when_it_is_urgent():
    asked = []
    held = holding(lambda reason, at_once: asked.append((reason, at_once)))
    for at_once in (False, False, True, True, False):
        held.stop("why", at_once)
    assert asked == [("why", False), ("why", True)]


def test_a_job_that_could_not_be_ended_is_asked_again():
    answers = [OSError("no"), None]

    def end(reason, at_once):
        if answer := answers.pop(0):
            raise answer

    held = holding(end)
    held.stop("why", True)
    held.stop("why", True)
    assert answers == []


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (BY_PERSON, ("cancelled by a person", False)),
        (GENTLY, ("a later run takes its place (overlap = cancel_previous)", False)),
        (AT_ONCE, ("a later run takes its place (overlap = terminate_previous)", True)),
    ],
)
def test_a_cancelled_job_is_told_by_whom_and_how_soon(how, told):
    asked = []
    row = SimpleNamespace(state="running", fence=CLAIM.fence, owner=CLAIM.owner, cancel_asked=how)
    held = holding(lambda *words: asked.append(words))
    Leases(SimpleNamespace())._obey(held, row, None)
    assert asked == [told]


@pytest.mark.parametrize(("state", "stays"), [("running", True), ("succeeded", True), ("lost", False)])
def test_a_job_that_has_committed_and_still_writes_to_redis_is_left_at_it(state, stays):
    row = SimpleNamespace(state=state, fence=CLAIM.fence, owner=CLAIM.owner, cancel_asked=0)
    held = holding(lambda *words: pytest.fail("it was ended"))
    Leases(SimpleNamespace())._obey(held, row, 1_000_000)
    assert (held.until_us > 0) is stays


def test_the_guard_ends_what_could_not_be_renewed_though_time_cannot_be_slept(monkeypatch):
    """Under libfaketime, and wherever else the clocks are tampered with, time.sleep may raise."""
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("nothing here sleeps by the clock"))
    monkeypatch.setattr(leases, "GUARD_S", 0.01)
    asked = []
    kept = Leases(SimpleNamespace())
    kept.hold(CLAIM, lambda reason, at_once: asked.append(reason), claimed_at_us=-60_000_000)
    for _ in range(500):
        if asked:
            break
        leases.pause(0.01)
    assert asked == ["the lease could not be renewed"]
    kept.release(CLAIM)
