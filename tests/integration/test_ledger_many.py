"""Many runs at once: pools, orders, and jobs that come after others, on each of the three databases."""

import threading

import pytest

from db.ledger import Ledger
from db.run import After, Claim, Ending, Follow, NewRun, Terms

SECOND = 1_000_000
NOON = 1_772_971_200 * SECOND  # 2026-03-08T12:00:00Z
DONE = Ending("succeeded", exit_code=0)
FAILED = Ending("failed", "bad luck", 1)
FREE = Terms("allow")
HEAVY = Terms("allow", pool="heavy", places=2)


@pytest.fixture
def ledger(database):
    held = Ledger(database, "a" * 36, "here")
    know(held, "mill", "press")
    return held


@pytest.fixture
def other(database, ledger):
    return Ledger(database, "b" * 36, "there")


def know(ledger, *names, **follow):
    for name in names:
        ledger.activate(name, "{}", "h1", cursor_us=NOON, now_us=NOON, **follow)


def record(ledger, job, key, **fields):
    return ledger.record(job, NewRun(key, "schedule", "queued", NOON, **fields), NOON).run_id


def slot(ledger, job, at=NOON, **fields):
    return record(ledger, job, f"c:{at}", slot_us=at, **fields)


def begun(ledger, job, key, terms=FREE, **fields):
    return ledger.claim(record(ledger, job, key, **fields), terms, NOON)


def ended(ledger, job, ending=DONE, at=NOON):
    """A slot of the job that was run and came to this."""
    ledger.finish(ledger.claim(slot(ledger, job, at), FREE, NOON), ending, NOON)


def ids(rows):
    return [row.run_id for row in rows]


# -- several at once


def test_runs_asked_for_together_are_answered_in_order(ledger):
    first, second = record(ledger, "mill", "m:1"), record(ledger, "press", "m:2")
    answers = ledger.claim_all([(second, FREE), (first, FREE)], NOON)
    assert [answer.run_id for answer in answers] == [second, first]


def test_a_run_taken_in_the_same_transaction_is_in_the_way_of_the_next(ledger):
    asked = [(record(ledger, "mill", key), Terms("skip")) for key in ("m:1", "m:2")]
    taken, refused = ledger.claim_all(asked, NOON)
    assert isinstance(taken, Claim)
    assert refused == "skipped"


def test_a_waiting_run_displaced_by_another_is_not_taken_after_it(ledger):
    before = begun(ledger, "mill", "m:1")
    ledger.finish(before, Ending("retry_wait", "x", due_us=NOON, attempt="failed"), NOON)
    new = record(ledger, "mill", "m:2")
    answers = ledger.claim_all([(new, Terms("cancel_previous")), (before.run_id, Terms("cancel_previous"))], NOON)
    assert isinstance(answers[0], Claim)
    assert answers[1] == "done"
    assert ledger.run(before.run_id).state == "cancelled"


def test_ends_are_written_together(ledger):
    claims = [begun(ledger, "mill", key) for key in ("m:1", "m:2")]
    assert ledger.finish_all([(claims[0], DONE), (claims[1], FAILED)], NOON) == [None, None]
    assert [ledger.run(claim.run_id).state for claim in claims] == ["succeeded", "failed"]


def test_of_ends_written_together_those_already_told_are_given_back(ledger):
    told, untold = (begun(ledger, "mill", key) for key in ("m:1", "m:2"))
    ledger.finish(told, DONE, NOON)
    stands, nothing = ledger.finish_all([(told, FAILED), (untold, FAILED)], NOON)
    assert (stands.state, nothing) == ("succeeded", None)
    assert ledger.run(told.run_id).state == "succeeded"


# -- pools


def test_a_pool_has_so_many_places_for_all_jobs_together(ledger, other):
    begun(ledger, "mill", "m:1", HEAVY)
    begun(other, "press", "m:2", HEAVY)
    assert begun(ledger, "press", "m:3", HEAVY) == "waits"


def test_a_place_is_free_again_when_its_run_has_ended(ledger):
    first = begun(ledger, "mill", "m:1", HEAVY)
    begun(ledger, "mill", "m:2", HEAVY)
    ledger.finish(first, DONE, NOON)
    assert isinstance(begun(ledger, "press", "m:3", HEAVY), Claim)


def test_a_run_that_waits_for_its_next_attempt_takes_no_place(ledger):
    first = begun(ledger, "mill", "m:1", HEAVY)
    begun(ledger, "mill", "m:2", HEAVY)
    ledger.finish(first, Ending("retry_wait", "x", due_us=NOON, attempt="failed"), NOON)
    assert isinstance(begun(ledger, "press", "m:3", HEAVY), Claim)


def test_other_pools_and_jobs_without_one_are_not_held_back(ledger):
    for key in ("m:1", "m:2"):
        begun(ledger, "mill", key, HEAVY)
    assert isinstance(begun(ledger, "press", "m:3"), Claim)
    assert isinstance(begun(ledger, "press", "m:4", Terms("allow", pool="light", places=1)), Claim)


def test_no_race_fills_a_pool_beyond_its_places(ledger, database):
    asked = [record(ledger, "mill" if n % 2 else "press", f"m:{n}") for n in range(8)]
    answers = []

    def race(run_id):
        answers.append(Ledger(database, f"{run_id:036}", "here").claim(run_id, HEAVY, NOON))

    threads = [threading.Thread(target=race, args=(run_id,)) for run_id in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(answer, Claim) for answer in answers) == 2
    assert answers.count("waits") == 6


# -- order


def test_runs_with_one_key_begin_in_order_and_never_overlap(ledger):
    first, second = (record(ledger, "mill", key, order_key="mill/oslo") for key in ("m:1", "m:2"))
    assert ledger.claim(second, FREE, NOON) == "waits"
    claim = ledger.claim(first, FREE, NOON)
    assert ledger.claim(second, FREE, NOON) == "waits"
    ledger.finish(claim, FAILED, NOON)
    assert isinstance(ledger.claim(second, FREE, NOON), Claim)


def test_runs_with_other_keys_do_not_wait(ledger):
    begun(ledger, "mill", "m:1", order_key="mill/oslo")
    assert isinstance(begun(ledger, "mill", "m:2", order_key="mill/bergen"), Claim)


def test_a_key_may_order_the_runs_of_several_jobs(ledger):
    first = record(ledger, "mill", "m:1", order_key="flour")
    assert begun(ledger, "press", "m:2", order_key="flour") == "waits"
    assert isinstance(ledger.claim(first, FREE, NOON), Claim)


def test_a_run_that_waits_for_its_next_attempt_keeps_its_turn(ledger):
    first = begun(ledger, "mill", "m:1", order_key="mill/oslo")
    second = record(ledger, "mill", "m:2", order_key="mill/oslo")
    ledger.finish(first, Ending("retry_wait", "x", due_us=NOON + 60 * SECOND, attempt="failed"), NOON)
    assert ledger.claim(second, FREE, NOON) == "waits"
    assert isinstance(ledger.claim(first.run_id, FREE, NOON + 60 * SECOND), Claim)


def test_runs_whose_turn_has_not_come_do_not_hide_others(ledger):
    first = begun(ledger, "mill", "m:1", order_key="mill/oslo")
    record(ledger, "mill", "m:2", order_key="mill/oslo")
    free = record(ledger, "mill", "m:3")
    assert ids(ledger.claimable(NOON, 9)) == [free]
    ledger.finish(first, DONE, NOON)
    assert len(ledger.claimable(NOON, 9)) == 2


# -- after other jobs: with a schedule


def after(*jobs, **how):
    return Terms("allow", after=After(jobs, **how))


def test_a_slot_waits_for_the_same_slot_of_the_job_it_comes_after(ledger):
    before = slot(ledger, "mill")
    run = slot(ledger, "press")
    assert ledger.claim(run, after("mill"), NOON) == "waits"
    ledger.finish(ledger.claim(before, FREE, NOON), DONE, NOON)
    assert isinstance(ledger.claim(run, after("mill"), NOON), Claim)


def test_a_slot_goes_by_the_latest_slot_before_it_where_there_is_none_of_its_own(ledger):
    ended(ledger, "mill", FAILED, NOON - 7200 * SECOND)
    ended(ledger, "mill", DONE, NOON - 3600 * SECOND)
    slot(ledger, "mill", NOON + SECOND)
    assert isinstance(ledger.claim(slot(ledger, "press"), after("mill"), NOON), Claim)


def test_a_slot_whose_upstream_failed_says_which_run_it_was(ledger):
    ended(ledger, "mill", FAILED)
    (failed,) = ids(ledger.runs("mill"))
    run = slot(ledger, "press")
    assert ledger.claim(run, after("mill"), NOON) == "skipped"
    row = ledger.run(run)
    assert (row.state, row.reason) == ("upstream_failed", f"after mill: run {failed} failed")


def test_a_slot_of_a_job_whose_upstream_never_had_one_says_so(ledger):
    run = slot(ledger, "press")
    ledger.claim(run, after("mill"), NOON)
    assert ledger.run(run).reason == "after mill: had no slot yet"


def test_a_coalesced_slot_is_as_the_run_that_stands_for_it(ledger):
    stands = NewRun(f"c:{NOON}", "schedule", "queued", NOON, slot_us=NOON)
    late = NewRun("c:1", "schedule", "coalesced", NOON, slot_us=NOON - 60, coalesced_into=f"c:{NOON}")
    ledger.advance("mill", "h1", NOON, NOON + 60, [stands, late], NOON)
    run = slot(ledger, "press", NOON - 60)
    assert ledger.claim(run, after("mill"), NOON) == "waits"
    ledger.finish(ledger.claim(ledger.run_of_key("mill", f"c:{NOON}").run_id, FREE, NOON), DONE, NOON)
    assert isinstance(ledger.claim(run, after("mill"), NOON), Claim)


def test_any_of_several_is_enough_when_that_is_asked_for(ledger):
    ended(ledger, "mill")
    know(ledger, "oven")
    slot(ledger, "oven")
    run = slot(ledger, "press")
    assert ledger.claim(run, after("mill", "oven"), NOON) == "waits"
    assert isinstance(ledger.claim(run, after("mill", "oven", needs="any"), NOON), Claim)


def test_a_job_that_comes_after_a_failure_is_skipped_when_there_was_none(ledger):
    ended(ledger, "mill")
    run = slot(ledger, "press")
    ledger.claim(run, after("mill", outcome="failure"), NOON)
    assert ledger.run(run).state == "skipped"


def test_a_forced_run_and_one_without_a_slot_wait_for_nobody(ledger):
    slot(ledger, "mill")
    assert isinstance(begun(ledger, "press", "m:1", after("mill")), Claim)
    assert isinstance(ledger.claim(slot(ledger, "press", forced=True), after("mill"), NOON), Claim)


def test_a_slot_waits_while_what_triggers_its_upstream_is_running(ledger):
    slot(ledger, "mill")
    run = slot(ledger, "press", NOON + SECOND)
    terms = Terms("allow", after=After(("oven",), roots=("mill",)))
    assert ledger.claim(run, terms, NOON) == "waits"


# -- after other jobs: without a schedule


def follow(*jobs, **how):
    return {"follow": Follow(After(jobs, **how), priority=3)}


def test_the_end_of_a_run_triggers_the_job_that_comes_after(ledger):
    know(ledger, "oven", **follow("mill"))
    ended(ledger, "mill")
    (cause,) = ids(ledger.runs("mill"))
    (run,) = ledger.runs("oven")
    assert (run.slot_key, run.state, run.trigger, run.priority) == (f"a:{cause}", "queued", "after", 3)
    assert run.slot_us == NOON


def test_every_end_triggers_it_once(ledger):
    know(ledger, "oven", **follow("mill"))
    for key in ("m:1", "m:2"):
        ledger.finish(begun(ledger, "mill", key), DONE, NOON)
    assert len(ledger.runs("oven")) == 2


def test_an_attempt_that_is_tried_again_triggers_nothing_yet(ledger):
    know(ledger, "oven", **follow("mill"))
    claim = begun(ledger, "mill", "m:1")
    ledger.finish(claim, Ending("retry_wait", "x", due_us=NOON, attempt="failed"), NOON)
    assert ledger.runs("oven") == []


def test_a_failure_is_recorded_for_what_comes_after_it_and_for_what_comes_after_that(ledger):
    know(ledger, "oven", **follow("mill"))
    know(ledger, "shop", **follow("oven", outcome="any"))
    ended(ledger, "mill", FAILED)
    (cause,) = ids(ledger.runs("mill"))
    (run,) = ledger.runs("oven")
    assert (run.state, run.reason) == ("upstream_failed", f"after mill: run {cause} failed")


def test_all_must_have_ended_since_it_was_last_triggered(ledger):
    know(ledger, "oven", **follow("mill", "press"))
    ended(ledger, "mill")
    ended(ledger, "mill", at=NOON + SECOND)
    assert ledger.runs("oven") == []
    ended(ledger, "press")
    assert len(ledger.runs("oven")) == 1
    ended(ledger, "press", at=NOON + SECOND)
    assert len(ledger.runs("oven")) == 1


def test_nights_stay_apart_when_one_of_two_failed(ledger):
    know(ledger, "oven", **follow("mill", "press"))
    ended(ledger, "mill", FAILED)
    assert ledger.runs("oven") == []
    ended(ledger, "press")
    assert [run.state for run in ledger.runs("oven")] == ["upstream_failed"]
    ended(ledger, "mill", at=NOON + SECOND)
    ended(ledger, "press", at=NOON + SECOND)
    assert [run.state for run in ledger.runs("oven")] == ["queued", "upstream_failed"]


def test_each_of_any_triggers_it(ledger):
    know(ledger, "oven", **follow("mill", "press", needs="any"))
    ended(ledger, "mill")
    ended(ledger, "press")
    assert len(ledger.runs("oven")) == 2


def test_a_run_that_was_skipped_triggers_nothing(ledger):
    know(ledger, "oven", **follow("mill", outcome="any"))
    begun(ledger, "mill", "m:1")
    assert begun(ledger, "mill", "m:2", Terms("skip")) == "skipped"
    assert ledger.runs("oven") == []


def test_a_cancelled_run_triggers_what_comes_after_a_failure(ledger):
    know(ledger, "oven", **follow("mill", outcome="failure"))
    ledger.cancel(record(ledger, "mill", "m:1"), NOON)
    assert [run.state for run in ledger.runs("oven")] == ["queued"]


def test_a_broken_job_is_not_triggered_and_says_why(ledger):
    know(ledger, "oven", **follow("mill"))
    ledger.set_job_state("oven", "broken", "no code")
    ended(ledger, "mill")
    assert [(run.state, run.reason) for run in ledger.runs("oven")] == [("skipped", "the job is broken")]


def test_a_job_that_follows_others_now_forgets_those_it_followed(ledger):
    know(ledger, "oven", **follow("mill"))
    know(ledger, "oven", **follow("press"))
    ended(ledger, "mill")
    assert ledger.runs("oven") == []
    know(ledger, "oven")
    ended(ledger, "press")
    assert ledger.runs("oven") == []


# -- survivors


def lost(ledger):
    claim = begun(ledger, "mill", "m:1")
    ledger.place(claim, 4242, 99)
    ledger.finish(claim, Ending("retry_wait", "gone", due_us=NOON, attempt="lost"), NOON)
    return claim.run_id


def test_the_claim_after_a_lost_attempt_tells_where_that_one_was(ledger):
    assert ledger.claim(lost(ledger), FREE, NOON).survivor == (4242, 99)


def test_another_host_is_not_told(ledger, other):
    assert other.claim(lost(ledger), FREE, NOON).survivor is None


def test_the_claim_after_a_failed_attempt_has_no_survivor(ledger):
    claim = begun(ledger, "mill", "m:1")
    ledger.place(claim, 4242, 99)
    ledger.finish(claim, Ending("retry_wait", "x", due_us=NOON, attempt="failed"), NOON)
    assert ledger.claim(claim.run_id, FREE, NOON).survivor is None
