"""What an attempt that did not commit by itself came to, and whether another one follows."""

from datetime import timedelta

import pytest

from clockmill.executors import Exit
from clockmill.job_spec import JobSpec
from clockmill.runner import Watch, ending_of, storable
from db.run import MAX_LOST, Claim

SECOND = 1_000_000


def claim(attempt=1, lost=0):
    return Claim(7, "mill", None, "m:1", "manual", attempt, lost, attempt, "me", {})


def ended(exit, watch=None, attempt=1, lost=0, **policies):
    spec = JobSpec("mill", **policies)
    return ending_of(claim(attempt, lost), spec, exit, watch or Watch(), 0)


FAILED = Exit("exit", code=1)
TIMEOUT = Exit("timeout", signal=9)
ORPHANED = Exit("orphaned")


@pytest.mark.parametrize(
    ("exit", "watch", "state", "reason"),
    [
        (FAILED, Watch(reason="no sacks"), "failed", "no sacks"),
        (FAILED, Watch(), "failed", "exit code 1"),
        (Exit("exit", signal=9), Watch(), "failed", "killed by SIGKILL"),
        (Exit("exit", code=0), Watch(), "failed", "its process ended before the job returned"),
        (TIMEOUT, Watch(reason="no sacks"), "timed_out", "timed out after 3600 s"),
        (Exit("cancel", signal=15), Watch(stopped="cancelled by a person"), "cancelled", "cancelled by a person"),
    ],
)
def test_an_attempt_without_retries_ends_its_run(exit, watch, state, reason):
    ending = ended(exit, watch)
    assert (ending.state, ending.reason, ending.due_us) == (state, reason, None)


def test_a_command_succeeds_by_its_exit_code():
    assert ended(Exit("exit", code=0), command=("true",)).state == "succeeded"
    assert ended(Exit("exit", code=0), Watch(stopped="cancelled by a person"), command=("true",)).state == "succeeded"


@pytest.mark.parametrize(("exit", "recorded"), [(FAILED, "failed"), (TIMEOUT, "timed_out")])
def test_a_retry_remembers_what_became_of_the_attempt(exit, recorded):
    ending = ended(exit, retries=1)
    assert (ending.state, ending.attempt) == ("retry_wait", recorded)
    assert ending.reason.endswith("; attempt 2 follows")


def test_retries_end():
    assert [ended(FAILED, attempt=n, retries=2).state for n in (1, 2, 3)] == ["retry_wait", "retry_wait", "failed"]


def test_lost_attempts_use_up_no_retry():
    assert ended(FAILED, attempt=4, lost=2, retries=2).state == "retry_wait"
    assert ended(FAILED, attempt=5, lost=2, retries=2).state == "failed"


def test_an_attempt_that_the_database_left_is_lost_and_uses_up_no_retry():
    ending = ended(FAILED, Watch(reason="the server went away", lost=True), retries=0)
    assert (ending.state, ending.attempt, ending.reason) == ("retry_wait", "lost", "the server went away")


def test_an_attempt_that_overstayed_beside_a_database_that_left_timed_out():
    assert ended(TIMEOUT, Watch(reason="the server went away", lost=True)).state == "timed_out"


@pytest.mark.parametrize(("used", "wait_s"), [(1, 30), (2, 60), (3, 120), (9, 3600), (500, 3600)])
def test_the_wait_doubles_up_to_an_hour(used, wait_s):
    due_s = ended(FAILED, attempt=used, retries=1000).due_us / SECOND
    assert 0.8 * wait_s <= due_s <= 1.2 * wait_s


def test_a_backoff_of_years_is_an_hour_too():
    due_s = ended(FAILED, attempt=50, retries=1000, backoff=timedelta(days=3650)).due_us / SECOND
    assert due_s <= 1.2 * 3600


@pytest.mark.parametrize("exit", [ORPHANED, Exit("cancel", signal=9)])
def test_a_lost_attempt_is_made_again_at_once(exit):
    ending = ended(exit)
    assert (ending.state, ending.attempt, ending.due_us) == ("retry_wait", "lost", 0)


def test_a_lost_attempt_says_who_stopped_it():
    assert ended(Exit("cancel"), Watch(stopped="the scheduler stopped")).reason == "the scheduler stopped"


def test_a_lost_attempt_is_not_made_again_where_that_is_forbidden():
    ending = ended(ORPHANED, on_lost="fail")
    assert (ending.state, ending.reason) == ("lost", "its process was lost; on_lost = fail forbids to run it again")


def test_so_many_lost_attempts_end_the_run():
    states = [ended(ORPHANED, attempt=lost + 1, lost=lost).state for lost in range(MAX_LOST)]
    assert states == ["retry_wait"] * (MAX_LOST - 1) + ["lost"]


@pytest.mark.parametrize(("text", "kept"), [("a\0b", "a\N{REPLACEMENT CHARACTER}b"), ("\ud800x", "?x"), ("é", "é")])
def test_a_reason_is_a_text_that_every_database_takes(text, kept):
    assert storable(text) == kept
