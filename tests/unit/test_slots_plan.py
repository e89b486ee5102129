"""From the clock to the ledger: every slot is accounted for, once, and what is not run says why."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from clockmill.job_spec import CATCH_UP, JobSpec
from clockmill.schedule import parse
from clockmill.slots import CATCH_UP_MAX, instant, iso, micros, plan, slot_key


def at(text):
    return datetime.fromisoformat(f"2026-03-08T{text}+00:00")


HOURLY = parse("0 * * * *")
NOW = at("12:30")


def planned(since, now=NOW, schedule=HOURLY, paused=False, recorded=(), **policies):
    return plan(JobSpec("mill", **policies), schedule, since, now, paused=paused, trigger="schedule", recorded=recorded)


def rows(steps):
    return [(row.state, iso(instant(row.slot_us))[11:16], row.slot_count) for row in steps.rows]


def test_before_the_next_slot_nothing_is_recorded_and_the_cursor_stays():
    steps = planned(at("12:00"))
    assert (steps.rows, steps.cursor) == ([], at("12:00"))


def test_a_slot_that_came_is_queued_under_its_instant():
    (row,) = planned(at("11:59")).rows
    assert (row.slot_key, row.state, row.trigger) == ("c:2026-03-08T12:00:00Z", "queued", "schedule")
    assert (row.due_us, row.slot_us) == (micros(at("12:00")), micros(at("12:00")))


def test_the_cursor_stops_at_the_last_slot_that_came():
    assert planned(at("09:30")).cursor == at("12:00")


def test_jitter_delays_the_start_and_never_the_slot():
    schedule = parse("0 * * * *", name="mill", jitter=timedelta(hours=1))
    (row,) = planned(at("11:59"), at("12:00"), schedule).rows
    assert (row.state, row.slot_us) == ("scheduled", micros(at("12:00")))
    assert row.due_us == micros(at("12:00") + schedule.delay(at("12:00")))


def test_priority_goes_with_the_slot():
    assert planned(at("11:59"), priority=7).rows[0].priority == 7


def test_latest_runs_the_last_slot_and_misses_those_older_than_a_period():
    assert rows(planned(at("08:30"))) == [("queued", "12:00", 1), ("missed", "09:00", 3)]


def test_latest_coalesces_what_lies_within_the_window():
    steps = planned(at("08:30"), catch_up_window=timedelta(hours=2))
    assert rows(steps) == [("queued", "12:00", 1), ("missed", "09:00", 2), ("coalesced", "11:00", 1)]
    assert steps.rows[2].coalesced_into == "c:2026-03-08T12:00:00Z"


def test_earliest_runs_the_first_slot_within_the_window():
    steps = planned(at("08:30"), catch_up="earliest", catch_up_window=timedelta(hours=2))
    assert rows(steps) == [("queued", "11:00", 1), ("missed", "09:00", 2), ("coalesced", "12:00", 1)]
    assert steps.rows[2].coalesced_into == "c:2026-03-08T11:00:00Z"


def test_older_slots_are_not_run_after_the_newest_was_run_by_hand():
    steps = planned(at("08:30"), recorded={at("12:00")}, catch_up_window=timedelta(hours=3))
    assert rows(steps) == [("missed", "09:00", 1), ("coalesced", "10:00", 2)]
    assert steps.rows[1].coalesced_into == "c:2026-03-08T12:00:00Z"


def test_newer_slots_are_not_run_after_the_earliest_was_run_by_hand():
    steps = planned(at("08:30"), recorded={at("11:00")}, catch_up="earliest", catch_up_window=timedelta(hours=2))
    assert rows(steps) == [("missed", "09:00", 2), ("coalesced", "12:00", 1)]
    assert steps.rows[1].coalesced_into == "c:2026-03-08T11:00:00Z"


def test_a_moment_beside_the_schedule_that_was_run_by_hand_stands_for_no_slot():
    assert rows(planned(at("11:30"), recorded={at("12:10")})) == [("queued", "12:00", 1)]


def test_all_runs_every_slot_within_the_window():
    steps = planned(at("08:30"), catch_up="all", catch_up_window=timedelta(hours=3))
    assert rows(steps) == [
        ("queued", "10:00", 1),
        ("queued", "11:00", 1),
        ("queued", "12:00", 1),
        ("missed", "09:00", 1),
    ]


def test_all_runs_a_hundred_slots_at_most():
    steps = planned(at("09:30"), schedule=parse("* * * * *"), catch_up="all", catch_up_window=timedelta(days=1))
    assert [row.state for row in steps.rows] == ["queued"] * CATCH_UP_MAX + ["missed"]
    assert (steps.rows[-1].slot_count, steps.rows[-1].reason) == (80, "catch_up = all runs the newest 100 slots")


def test_none_runs_a_slot_that_is_on_time():
    assert rows(planned(at("11:30"), at("12:01"), catch_up="none")) == [("queued", "12:00", 1)]


def test_none_misses_a_slot_that_is_late():
    steps = planned(at("10:30"), at("12:02"), catch_up="none")
    assert rows(steps) == [("missed", "11:00", 2)]
    assert steps.rows[0].reason == "nothing ran when it came, and catch_up = none"


def test_what_is_missed_says_how_old_it_might_have_been():
    steps = planned(at("08:30"), catch_up_window=timedelta(minutes=90))
    assert steps.rows[1].reason == "older than the catch-up window of 1h30m"


def test_the_default_window_is_a_day_at_most():
    weekly = parse("0 12 * * 1")
    monday = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert [row.state for row in planned(monday - timedelta(1), monday + timedelta(hours=23), weekly).rows] == [
        "queued"
    ]
    assert [row.state for row in planned(monday - timedelta(1), monday + timedelta(hours=25), weekly).rows] == [
        "missed"
    ]


def test_a_paused_job_skips_its_slots_in_one_row():
    steps = planned(at("08:30"), paused=True)
    assert rows(steps) == [("skipped", "09:00", 4)]
    assert (steps.rows[0].reason, steps.cursor) == ("paused", at("12:00"))


def test_a_slot_that_has_a_row_already_is_not_recorded_again():
    assert rows(planned(at("08:30"), recorded={at("12:00")}, catch_up_window=timedelta(0))) == [("missed", "09:00", 3)]


def test_a_slot_that_has_a_row_already_divides_the_row_around_it():
    steps = planned(at("08:30"), recorded={at("10:00")})
    assert rows(steps) == [("queued", "12:00", 1), ("missed", "09:00", 1), ("missed", "11:00", 1)]
    paused = planned(at("08:30"), recorded={at("10:00")}, paused=True)
    assert rows(paused) == [("skipped", "09:00", 1), ("skipped", "11:00", 2)]


def test_when_every_slot_has_a_row_already_the_cursor_moves_alone():
    steps = planned(at("11:30"), recorded={at("12:00")})
    assert (steps.rows, steps.cursor) == ([], at("12:00"))


def covered(row, slots):
    """The slots that a row stands for."""
    if row.slot_count == 1:
        return [instant(row.slot_us)]
    return [slot for slot in slots if row.slot_us <= micros(slot) <= row.slot_last_us]


@settings(max_examples=300, deadline=None)
@given(
    line=st.sampled_from(["* * * * *", "*/7 * * * *", "0 9,10,11 * * *", "5 4 * * 1", "@every 40s", "*/20 * * * * *"]),
    catch_up=st.sampled_from(CATCH_UP),
    window=st.none() | st.integers(0, 5 * 3600).map(lambda seconds: timedelta(seconds=seconds)),
    stopped=st.integers(0, 6 * 3600),
    into=st.integers(0, 7 * 86400 * 1_000_000).map(lambda us: timedelta(microseconds=us)),
    paused=st.booleans(),
    which=st.sets(st.integers(0, 400), max_size=6),
)
def test_every_slot_up_to_the_new_cursor_is_covered_by_one_row(line, catch_up, window, stopped, into, paused, which):
    schedule = parse(line)
    cursor = at("00:00") + into
    now = cursor + timedelta(seconds=stopped)
    slots = list(schedule.between(cursor, now))
    recorded = {slots[i] for i in which if i < len(slots)}
    steps = planned(cursor, now, schedule, paused, recorded, catch_up=catch_up, catch_up_window=window)
    found = [slot for row in steps.rows for slot in covered(row, slots)]
    assert sorted([*found, *recorded]) == slots
    assert steps.cursor == (slots[-1] if slots else cursor)
    for row in steps.rows:
        assert len(covered(row, slots)) == row.slot_count
        assert row.slot_key == slot_key(instant(row.slot_us))
        assert row.state in ("queued", "scheduled", "coalesced") or row.reason
        running = {r.slot_key for r in steps.rows if r.state == "queued"} | {slot_key(slot) for slot in recorded}
        assert row.coalesced_into is None or row.coalesced_into in running
