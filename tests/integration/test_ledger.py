"""The ledger's promises, on each of the three databases."""

import sqlite3
from dataclasses import replace

import pytest
from sqlalchemy import text, update

from db.engine import read, write
from db.errors import DatabaseUnavailable, Fenced, StoreError
from db.ledger import Ledger
from db.overlap import AT_ONCE, GENTLY
from db.run import MAX_LOST, Claim, Ending, NewRun, Terms
from db.tables import runs

SECOND = 1_000_000
NOON = 1_772_971_200 * SECOND  # 2026-03-08T12:00:00Z
DONE = Ending("succeeded", exit_code=0)


@pytest.fixture
def ledger(database):
    held = Ledger(database, "a" * 36, "here")
    held.activate("mill", "{}", "h1", cursor_us=NOON, now_us=NOON)
    return held


@pytest.fixture
def other(database, ledger):
    return Ledger(database, "b" * 36, "there")


def queued(key="c:12", **fields):
    return NewRun(key, "schedule", "queued", NOON, **fields)


def claim(ledger, run_id, overlap="skip", on_lost="rerun", now_us=NOON):
    return ledger.claim(run_id, Terms(overlap, on_lost), now_us)


def begun(ledger, key="c:12", job="mill", **fields):
    return claim(ledger, ledger.record(job, queued(key, **fields), NOON).run_id)


def expire(ledger, run_id):
    """Its owner stopped renewing long ago."""
    with write(ledger.engine) as connection:
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(lease_us=1))


def make_effects(ledger):
    with write(ledger.engine) as connection:
        connection.exec_driver_sql("CREATE TABLE effects (fence BIGINT)")


def effect_of(claimed):
    return lambda connection: connection.execute(text("INSERT INTO effects VALUES (:f)"), {"f": claimed.fence})


def effects(ledger):
    with read(ledger.engine) as connection:
        return connection.execute(text("SELECT fence FROM effects")).scalars().all()


# -- recording


def test_of_each_job_the_first_free_runs_are_brought_to_workers(ledger):
    ledger.activate("other", "{}", "h1", cursor_us=NOON, now_us=NOON)
    ours = [ledger.record("mill", queued(f"c:{i}", priority=i // 3), NOON).run_id for i in range(4)]
    theirs = ledger.record("other", queued(), NOON).run_id
    ledger.record("mill", NewRun("m:later", "manual", "queued", NOON + SECOND), NOON)
    assert [row.run_id for row in ledger.carried(["mill", "other"], NOON, 2)] == [ours[3], theirs, ours[0]]
    claim(ledger, ours[3], "allow")
    assert [row.run_id for row in ledger.carried(["mill"], NOON, 2)] == ours[:2]
    expire(ledger, ours[3])
    assert [(row.run_id, row.fence) for row in ledger.carried(["mill"], NOON, 1)] == [(ours[3], 1)]


def test_of_a_job_whose_runs_wait_for_each_other_the_next_one_is_brought_in_its_turn(ledger):
    first, second, third = (ledger.record("mill", queued(f"c:{i}"), NOON).run_id for i in range(3))
    ordered = ledger.record("mill", queued("e:1", order_key="mill:7"), NOON).run_id
    forced = ledger.record("mill", queued("m:1", forced=True), NOON).run_id

    def brought():
        return [row.run_id for row in ledger.carried(["mill"], NOON, 9, ["mill"])]

    assert brought() == [first, ordered, forced]
    claimed = claim(ledger, first, "queue_all")
    assert brought() == [ordered, forced]
    assert claim(ledger, second, "queue_all") == "waits"
    expire(ledger, first)
    assert brought() == [first, ordered, forced]
    again = claim(ledger, first, "queue_all")
    ledger.finish(again, Ending("succeeded"), NOON)
    assert claimed.fence < again.fence
    assert brought() == [second, ordered, forced]
    assert third not in brought()


def test_a_slot_recorded_twice_is_one_run(ledger, other):
    first = ledger.record("mill", queued(), NOON)
    assert other.record("mill", queued(), NOON).run_id == first.run_id


def test_slot_keys_compare_bytewise(ledger):
    ids = {ledger.record("mill", queued(key), NOON).run_id for key in ("m:a", "m:A", "m:ä")}
    assert len(ids) == 3


def test_the_cursor_moves_with_the_rows_it_accounts_for(ledger):
    assert ledger.advance("mill", "h1", NOON, NOON + 60, [queued("c:1")], NOON)
    assert ledger.job("mill").cursor_us == NOON + 60
    assert ledger.run_of_key("mill", "c:1").state == "queued"


def test_a_cursor_that_another_process_moved_is_left_alone(ledger, other):
    other.advance("mill", "h1", NOON, NOON + 60, [queued("c:1")], NOON)
    assert not ledger.advance("mill", "h1", NOON, NOON + 90, [queued("c:2")], NOON)
    assert ledger.job("mill").cursor_us == NOON + 60
    assert ledger.run_of_key("mill", "c:2") is None


def test_a_process_with_another_specification_materialises_nothing(ledger):
    assert not ledger.advance("mill", "h2", NOON, NOON + 60, [queued("c:1")], NOON)
    assert ledger.run_of_key("mill", "c:1") is None


def test_the_cursor_never_goes_back(ledger):
    ledger.advance("mill", "h1", NOON, NOON - 60, [], NOON)
    assert ledger.job("mill").cursor_us == NOON


def test_the_cursor_stays_when_a_row_cannot_be_written(ledger):
    with pytest.raises(Exception, match=r"(?i)null"):
        ledger.advance("mill", "h1", NOON, NOON + 60, [queued("c:1"), replace(queued("c:2"), state=None)], NOON)
    assert ledger.job("mill").cursor_us == NOON
    assert ledger.run_of_key("mill", "c:1") is None


def test_coalesced_slots_name_the_run_that_stands_for_them(ledger):
    late = NewRun("c:0", "schedule", "coalesced", 0, slot_us=1, slot_last_us=5, slot_count=3, coalesced_into="c:9")
    ledger.advance("mill", "h1", NOON, NOON + 60, [queued("c:9"), late], NOON)
    stands = ledger.run_of_key("mill", "c:9")
    row = ledger.run_covering("mill", 3)
    assert (row.coalesced_into, row.reason) == (stands.run_id, f"coalesced into run {stands.run_id}")
    assert ledger.run_covering("mill", 6) is None


def test_a_slot_that_was_asked_for_ahead_of_the_cursor_is_known_to_whoever_moves_it(ledger):
    ledger.record("mill", queued("c:a", slot_us=NOON + 30), NOON)
    assert not ledger.advance("mill", "h1", NOON, NOON + 60, [queued("c:b", slot_us=NOON + 60)], NOON)
    assert ledger.recorded_ahead("mill", NOON, NOON + 60) == {NOON + 30}
    assert ledger.recorded_ahead("mill", NOON + 30, NOON + 60) == set()
    rows = [queued("c:b", slot_us=NOON + 60)]
    assert ledger.advance("mill", "h1", NOON, NOON + 60, rows, NOON, recorded={NOON + 30, NOON + 90})


# -- activation


def test_a_job_that_is_known_keeps_its_cursor_and_its_creation(ledger):
    ledger.activate("mill", "{}", "h1", cursor_us=NOON + 5, now_us=NOON + 5)
    row = ledger.job("mill")
    assert (row.cursor_us, row.created_us, row.activated_us) == (NOON, NOON, NOON)


def test_a_new_specification_counts_from_its_activation(ledger):
    ledger.activate("mill", '{"k": 1}', "h2", cursor_us=NOON + 5, now_us=NOON + 5)
    row = ledger.job("mill")
    assert (row.spec_hash, row.spec_json) == ("h2", '{"k": 1}')
    assert (row.cursor_us, row.created_us, row.activated_us) == (NOON + 5, NOON, NOON + 5)


def test_a_new_specification_never_takes_the_cursor_back(ledger):
    ledger.activate("mill", "{}", "h2", cursor_us=NOON - 5, now_us=NOON + 5)
    assert ledger.job("mill").cursor_us == NOON


def test_a_mended_job_is_enabled_again_and_its_cursor_stays(ledger):
    ledger.set_job_state("mill", "broken", "ImportError: x")
    ledger.activate("mill", "{}", "h1", cursor_us=NOON + 5, now_us=NOON + 5)
    row = ledger.job("mill")
    assert (row.state, row.reason, row.cursor_us) == ("enabled", None, NOON)


def test_a_paused_job_stays_paused_while_its_code_is_broken(ledger):
    ledger.set_job_state("mill", "paused", "by a person")
    ledger.set_job_state("mill", "broken", "ImportError: x")
    ledger.activate("mill", "{}", "h1", cursor_us=NOON, now_us=NOON)
    assert ledger.job("mill").state == "paused"


# -- claiming


def test_a_claim_counts_its_attempt_before_anything_starts(ledger):
    claimed = begun(ledger, params={"k": 3})
    assert (claimed.attempt, claimed.fence, claimed.owner, claimed.params) == (1, 1, ledger.owner, {"k": 3})
    (attempt,) = ledger.attempts(claimed.run_id)
    assert (attempt.state, attempt.fence, attempt.log) == ("running", 1, f"{claimed.run_id}.1.log")


def test_a_run_is_claimed_once(ledger, other):
    claimed = begun(ledger)
    assert claim(other, claimed.run_id) == "taken"
    assert claim(ledger, claimed.run_id) == "taken"


def test_a_run_that_does_not_exist_cannot_be_claimed(ledger):
    with pytest.raises(StoreError, match="run 999999 does not exist"):
        claim(ledger, 999_999)


def test_a_run_is_not_claimed_before_it_is_due(ledger):
    run = ledger.record("mill", queued(), NOON)
    assert claim(ledger, run.run_id, now_us=NOON - 1) == "not_due"
    assert ledger.claimable(NOON - 1, 9) == []


def test_claimable_runs_come_by_priority_then_by_time(ledger):
    late = ledger.record("mill", replace(queued("late"), due_us=NOON - 1), NOON)
    early = ledger.record("mill", replace(queued("early"), due_us=NOON - 2), NOON)
    urgent = ledger.record("mill", queued("urgent", priority=5), NOON)
    assert [row.run_id for row in ledger.claimable(NOON, 9)] == [urgent.run_id, early.run_id, late.run_id]
    assert [row.run_id for row in ledger.claimable(NOON, 1)] == [urgent.run_id]


def test_runs_that_lost_their_worker_come_before_others_of_their_priority(ledger):
    orphan, abandoned = begun(ledger, "c:1"), begun(ledger, "c:2", "bakery")
    expire(ledger, orphan.run_id)
    ledger.finish(abandoned, Ending("retry_wait", "its process was lost", due_us=NOON, attempt="lost"), NOON)
    waiting = ledger.record("mill", replace(queued("c:0"), due_us=NOON - 60), NOON)
    urgent = ledger.record("mill", queued("c:9", priority=1), NOON)
    found = [row.run_id for row in ledger.claimable(NOON, 9)]
    assert found == [urgent.run_id, *sorted([orphan.run_id, abandoned.run_id]), waiting.run_id]


def test_runs_of_unknown_jobs_are_left_to_others(ledger):
    ledger.record("mill", queued(), NOON)
    assert ledger.claimable(NOON, 9, ["mill"]) == []


def test_a_reserved_run_is_its_owners_until_the_lease_is_over(ledger, other):
    run = ledger.record("mill", queued("m:1", reserved_for=ledger.owner), NOON)
    assert other.claimable(NOON, 9) == []
    assert claim(other, run.run_id) == "taken"
    expire(ledger, run.run_id)
    assert [row.run_id for row in other.claimable(NOON, 9)] == [run.run_id]
    assert isinstance(claim(other, run.run_id), Claim)


def test_a_reserved_run_that_waits_is_kept_by_renewing(ledger, other):
    run = ledger.record("mill", queued("m:1", reserved_for=ledger.owner), NOON)
    expire(ledger, run.run_id)
    ledger.renew([run.run_id])
    assert claim(other, run.run_id) == "taken"


# -- holding and finishing


def test_renewing_prolongs_the_lease(ledger):
    claimed = begun(ledger)
    expire(ledger, claimed.run_id)
    held = ledger.renew([claimed.run_id])
    assert (held[claimed.run_id].owner, held[claimed.run_id].fence) == (ledger.owner, claimed.fence)
    assert ledger.run(claimed.run_id).lease_us > 1


def test_renewing_what_another_process_holds_changes_nothing(ledger, other):
    claimed = begun(ledger)
    expire(ledger, claimed.run_id)
    assert other.renew([claimed.run_id])[claimed.run_id].owner == ledger.owner
    assert ledger.run(claimed.run_id).lease_us == 1


def test_an_attempt_ends_with_its_effects(ledger):
    make_effects(ledger)
    claimed = begun(ledger)
    ledger.finish(claimed, replace(DONE, report={"rows_out": 3}), NOON + 7, effect_of(claimed))
    run = ledger.run(claimed.run_id)
    assert (run.state, run.ended_us, run.progress, run.report_json) == ("succeeded", NOON + 7, 1.0, '{"rows_out": 3}')
    assert ledger.attempts(claimed.run_id)[0].state == "succeeded"
    assert effects(ledger) == [1]


def test_an_effect_that_fails_leaves_the_run_running(ledger):
    make_effects(ledger)
    claimed = begun(ledger)

    def fail(connection):
        effect_of(claimed)(connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ledger.finish(claimed, DONE, NOON, fail)
    assert ledger.run(claimed.run_id).state == "running"
    assert effects(ledger) == []


def test_a_stale_claim_commits_nothing(ledger, other):
    make_effects(ledger)
    stale = begun(ledger)
    expire(ledger, stale.run_id)
    fresh = claim(other, stale.run_id)
    assert (fresh.fence, fresh.attempt, fresh.lost) == (2, 2, 1)
    with pytest.raises(Fenced, match="nothing of it is committed"):
        ledger.finish(stale, DONE, NOON, effect_of(stale))
    assert effects(ledger) == []
    other.finish(fresh, DONE, NOON, effect_of(fresh))
    assert effects(ledger) == [2]


def test_an_ended_run_never_changes(ledger):
    make_effects(ledger)
    claimed = begun(ledger)
    ledger.finish(claimed, Ending("timed_out", "too slow"), NOON)
    with pytest.raises(Fenced, match="the run is timed_out"):
        ledger.finish(claimed, DONE, NOON + 1, effect_of(claimed))
    assert claim(ledger, claimed.run_id) == "done"
    assert ledger.run(claimed.run_id).state == "timed_out"
    assert effects(ledger) == []


def test_a_stale_attempt_cannot_talk_over_the_present_one(ledger, other):
    stale = begun(ledger)
    expire(ledger, stale.run_id)
    fresh = claim(other, stale.run_id)
    other.progress(fresh, 0.5, "half")
    ledger.progress(stale, 0.9, "nearly")
    assert (ledger.run(stale.run_id).progress, ledger.run(stale.run_id).note) == (0.5, "half")


def test_a_failed_attempt_waits_for_the_next_one(ledger):
    claimed = begun(ledger)
    ledger.finish(claimed, Ending("retry_wait", "bad luck", 1, due_us=NOON + 30, attempt="failed"), NOON)
    assert claim(ledger, claimed.run_id, now_us=NOON + 29) == "not_due"
    again = claim(ledger, claimed.run_id, now_us=NOON + 30)
    assert (again.attempt, again.fence, again.lost) == (2, 2, 0)
    assert [attempt.state for attempt in ledger.attempts(claimed.run_id)] == ["failed", "running"]


# -- lost owners


def test_an_orphan_is_claimed_by_whoever_comes(ledger, other):
    orphan = begun(ledger)
    assert other.claimable(NOON, 9) == []
    expire(ledger, orphan.run_id)
    assert [row.run_id for row in other.claimable(NOON, 9)] == [orphan.run_id]
    claim(other, orphan.run_id)
    assert [attempt.state for attempt in ledger.attempts(orphan.run_id)] == ["lost", "running"]


def test_an_orphan_that_may_not_run_again_ends_as_lost(ledger, other):
    orphan = begun(ledger)
    expire(ledger, orphan.run_id)
    assert claim(other, orphan.run_id, on_lost="fail") == "lost"
    run = ledger.run(orphan.run_id)
    assert (run.state, run.reason) == ("lost", "its worker died; on_lost = fail forbids to run it again")


def test_five_lost_attempts_end_a_run(ledger):
    run_id = begun(ledger).run_id
    for _ in range(MAX_LOST - 1):
        expire(ledger, run_id)
        assert isinstance(claim(ledger, run_id), Claim)
    expire(ledger, run_id)
    assert claim(ledger, run_id) == "lost"
    assert ledger.run(run_id).reason == "5 workers died running it"
    assert [attempt.state for attempt in ledger.attempts(run_id)] == ["lost"] * MAX_LOST


def test_a_lost_attempt_uses_up_no_retry(ledger):
    claimed = begun(ledger)
    ledger.finish(claimed, Ending("retry_wait", "gone", due_us=NOON, attempt="lost"), NOON)
    again = claim(ledger, claimed.run_id)
    assert (again.attempt, again.lost) == (2, 1)


# -- overlap, pause, cancel


@pytest.mark.parametrize(
    ("overlap", "verdict", "asked"),
    [
        ("skip", "skipped", 0),
        ("queue_one", "waits", 0),
        ("queue_all", "waits", 0),
        ("cancel_previous", "waits", GENTLY),
        ("terminate_previous", "waits", AT_ONCE),
    ],
)
def test_overlap_decides_while_an_earlier_run_is_running(ledger, overlap, verdict, asked):
    first = begun(ledger, "c:1")
    second = ledger.record("mill", queued("c:2"), NOON)
    assert claim(ledger, second.run_id, overlap) == verdict
    assert ledger.run(first.run_id).cancel_asked == asked


def test_overlap_allow_runs_both(ledger):
    begun(ledger, "c:1")
    assert isinstance(claim(ledger, ledger.record("mill", queued("c:2"), NOON).run_id, "allow"), Claim)


def test_a_slot_skipped_for_overlap_names_the_run_in_its_way(ledger):
    first = begun(ledger, "c:1")
    second = begun(ledger, "c:2")
    assert second == "skipped"
    assert ledger.run_of_key("mill", "c:2").reason == f"overlap: run {first.run_id} is running"


def test_queue_one_lets_one_wait_and_skips_the_next(ledger):
    begun(ledger, "c:1")
    second = ledger.record("mill", queued("c:2"), NOON)
    third = ledger.record("mill", queued("c:3"), NOON)
    assert claim(ledger, second.run_id, "queue_one") == "waits"
    assert claim(ledger, third.run_id, "queue_one") == "skipped"
    assert ledger.run(third.run_id).reason == f"overlap: run {second.run_id} waits already"


def test_queue_all_runs_them_one_after_the_other(ledger):
    first = begun(ledger, "c:1")
    second = ledger.record("mill", queued("c:2"), NOON)
    third = ledger.record("mill", queued("c:3"), NOON)
    assert claim(ledger, third.run_id, "queue_all") == "waits"
    ledger.finish(first, DONE, NOON)
    assert isinstance(claim(ledger, second.run_id, "queue_all"), Claim)
    assert claim(ledger, third.run_id, "queue_all") == "waits"


def test_cancel_previous_ends_a_run_that_waits_for_its_next_attempt(ledger):
    first = begun(ledger, "c:1")
    ledger.finish(first, Ending("retry_wait", "x", due_us=NOON + 3600 * SECOND, attempt="failed"), NOON)
    second = ledger.record("mill", queued("c:2"), NOON)
    assert isinstance(claim(ledger, second.run_id, "cancel_previous"), Claim)
    run = ledger.run(first.run_id)
    assert (run.state, run.reason) == ("cancelled", f"cancelled by run {second.run_id}")


def test_other_jobs_are_not_in_the_way(ledger):
    ledger.activate("press", "{}", "h", cursor_us=NOON, now_us=NOON)
    begun(ledger)
    assert isinstance(begun(ledger, job="press"), Claim)


def test_a_paused_job_records_its_slots_as_skipped(ledger):
    ledger.set_job_state("mill", "paused")
    assert begun(ledger) == "skipped"
    assert ledger.run_of_key("mill", "c:12").reason == "paused"


def test_force_ignores_pause_and_overlap(ledger):
    begun(ledger, "c:1")
    ledger.set_job_state("mill", "paused")
    assert isinstance(begun(ledger, "m:1", forced=True), Claim)


def test_a_retry_goes_on_though_the_job_was_paused_meanwhile(ledger):
    claimed = begun(ledger)
    ledger.finish(claimed, Ending("retry_wait", "x", due_us=NOON, attempt="failed"), NOON)
    ledger.set_job_state("mill", "paused")
    assert isinstance(claim(ledger, claimed.run_id), Claim)


def test_cancelling_a_waiting_run_ends_it(ledger):
    run = ledger.record("mill", queued(), NOON)
    assert ledger.cancel(run.run_id, NOON + 1) == "queued"
    ended = ledger.run(run.run_id)
    assert (ended.state, ended.reason, ended.ended_us) == ("cancelled", "cancelled by a person", NOON + 1)


def test_cancelling_a_running_run_asks_its_owner(ledger):
    claimed = begun(ledger)
    assert ledger.cancel(claimed.run_id, NOON) == "running"
    assert ledger.held([claimed.run_id])[claimed.run_id].cancel_asked == 1


def test_cancelling_an_ended_run_leaves_it_as_it_is(ledger):
    claimed = begun(ledger)
    ledger.finish(claimed, DONE, NOON)
    assert ledger.cancel(claimed.run_id, NOON) == "succeeded"
    assert ledger.run(claimed.run_id).state == "succeeded"


# -- named leases, pruning


def test_a_named_lease_has_one_holder_until_it_gives_it_back(ledger, other):
    assert ledger.lease("housekeeping", 30)
    assert not other.lease("housekeeping", 30)
    assert ledger.lease("housekeeping", 30)
    ledger.release("housekeeping")
    assert other.lease("housekeeping", 30)


def test_a_lease_that_is_over_goes_to_whoever_asks(ledger, other):
    assert ledger.lease("scheduler/1", -1)
    assert ledger.holders("scheduler/") == []
    assert other.lease("scheduler/1", 30)
    assert ledger.holders("scheduler/") == [other.owner]


def test_a_process_gives_back_its_own_leases_only(ledger, other):
    ledger.lease("housekeeping", 30)
    other.release("housekeeping")
    assert ledger.holders("housekeeping") == [ledger.owner]


# -- a COMMIT whose answer is lost


def lose_the_answer(engine, monkeypatch, committed):
    """The next COMMIT arrives at the server, or does not; either way the connection breaks before its answer."""
    original = engine.dialect.do_commit

    def do_commit(connection):
        monkeypatch.setattr(engine.dialect, "do_commit", original)
        if committed:
            original(connection)
        raise broken(engine, connection)

    monkeypatch.setattr(engine.dialect, "do_commit", do_commit)


def broken(engine, connection):
    if engine.dialect.name == "sqlite":
        return sqlite3.OperationalError("disk I/O error")
    connection.dbapi_connection.close()
    if engine.dialect.name == "postgresql":
        return engine.dialect.dbapi.OperationalError("server closed the connection unexpectedly")
    return engine.dialect.dbapi.OperationalError(2013, "Lost connection to server during query")


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_is_looked_up_not_guessed(ledger, monkeypatch, committed):
    make_effects(ledger)
    claimed = begun(ledger)
    lose_the_answer(ledger.engine, monkeypatch, committed)
    ledger.finish(claimed, DONE, NOON, effect_of(claimed))
    assert effects(ledger) == [1]
    assert ledger.run(claimed.run_id).state == "succeeded"


def test_a_retry_whose_commit_was_lost_is_recognised_too(ledger, monkeypatch):
    claimed = begun(ledger)
    lose_the_answer(ledger.engine, monkeypatch, True)
    ledger.finish(claimed, Ending("retry_wait", "x", due_us=NOON, attempt="failed"), NOON)
    assert ledger.run(claimed.run_id).state == "retry_wait"


def test_a_lost_commit_that_did_not_stand_is_fenced_when_another_took_over(ledger, other, monkeypatch):
    make_effects(ledger)
    claimed = begun(ledger)
    lose_the_answer(ledger.engine, monkeypatch, False)

    def take_over(seconds):
        expire(ledger, claimed.run_id)
        claim(other, claimed.run_id)

    monkeypatch.setattr("db.engine.pause", take_over)
    with pytest.raises(Fenced):
        ledger.finish(claimed, DONE, NOON, effect_of(claimed))
    assert effects(ledger) == []


def test_another_error_at_commit_is_no_lost_answer(ledger, monkeypatch):
    claimed = begun(ledger)
    error = ledger.engine.dialect.dbapi.OperationalError("the disk is full")

    def do_commit(connection):
        raise error

    monkeypatch.setattr(ledger.engine.dialect, "do_commit", do_commit)
    with pytest.raises(DatabaseUnavailable, match="the disk is full"):
        ledger.finish(claimed, DONE, NOON)
    monkeypatch.undo()
    assert ledger.run(claimed.run_id).state == "running"


def test_a_run_is_asked_for_of_a_job_that_is_known_so(ledger):
    ledger.activate("oats", "{}", "hash", cursor_us=0, now_us=0)
    row = NewRun("m:1", "manual", "queued", 5, params={"k": 3})
    run_id = ledger.ask("oats", "hash", row, 5)
    assert (ledger.run(run_id).slot_key, ledger.run(run_id).params_json) == ("m:1", '{"k": 3}')
    assert ledger.ask("oats", "hash", row, 5) == run_id
    assert ledger.ask("oats", "another hash", NewRun("m:2", "manual", "queued", 5), 5) is None
    ledger.set_job_state("oats", "broken", "no code")
    assert ledger.ask("oats", "hash", NewRun("m:3", "manual", "queued", 5), 5) is None
    assert len(ledger.runs()) == 1
