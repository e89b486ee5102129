"""What the daemon records when somebody sets its clock: driven by hand, without its timer."""

from datetime import UTC, datetime, timedelta

import pytest

import scheduler as daemon
from clockmill.config import merge
from clockmill.doors import slot_run
from clockmill.mill import Mill
from clockmill.slots import micros
from db.run import Claim, Terms
from scheduler import Scheduler

MORNING = datetime(2026, 5, 1, 8, 0, 30, tzinfo=UTC)
TICK = {"command": ["true"], "schedule": "*/10 * * * *", "timezone": "UTC"}


class NoExecutors:
    """Nothing is run here."""

    def alive(self):
        return True


class Host:
    """A daemon whose two clocks are set by hand."""

    def __init__(self, folder, monkeypatch, **policies):
        config = merge(folder, None, {"redis": {"url": "none"}, "jobs": {"tick": {**TICK, **policies}}}, {})
        self.wall, self.boot_us = MORNING, 1_000_000_000
        monkeypatch.setattr(Mill, "now", staticmethod(lambda: self.wall))
        monkeypatch.setattr(daemon, "boot_micros", lambda: self.boot_us)
        self.scheduler = Scheduler(Mill(config), NoExecutors(), workers=0)
        self.scheduler.timer.modify_job = lambda *_, **__: None
        self.scheduler.admit()

    def passes(self, awake=timedelta(0), stepped=timedelta(0)):
        """Time passes, awake or asleep, and the clock is set; then the daemon looks."""
        self.wall += awake + stepped
        self.boot_us += awake // timedelta(microseconds=1)
        self.scheduler.agenda.collect(self.wall)
        self.scheduler.tick()

    def rows(self):
        """(first slot, slots, state, reason), the oldest first."""
        found = self.scheduler.mill.ledger.runs("tick", limit=1000)
        return [(clock(run.slot_us), run.slot_count, run.state, run.reason) for run in sorted(found, key=slot)]


def slot(run):
    return run.slot_us or 0


def clock(us):
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%H:%M}"


@pytest.fixture
def host(tmp_path, monkeypatch):
    return lambda **policies: Host(tmp_path, monkeypatch, **policies)


def minutes(number):
    return timedelta(minutes=number)


def test_slots_are_recorded_as_they_come(host):
    found = host()
    found.passes(minutes(10))
    found.passes(minutes(10))
    assert found.rows() == [("08:10", 1, "queued", None), ("08:20", 1, "queued", None)]


def test_the_timer_comes_round_once_however_far_the_clock_leaps():
    trigger = daemon.Every(1)
    asked = trigger.get_next_fire_time(MORNING, MORNING + timedelta(days=20_000))
    assert asked == MORNING + timedelta(days=20_000, seconds=1)
    assert trigger.get_next_fire_time(MORNING, MORNING) == MORNING + timedelta(seconds=1)
    assert trigger.get_next_fire_time(MORNING, MORNING - timedelta(hours=1)) == MORNING - timedelta(seconds=3599)
    assert trigger.get_next_fire_time(MORNING, MORNING + timedelta(seconds=1.9)) == MORNING + timedelta(seconds=2)


def test_a_host_that_slept_runs_the_latest_slot(host):
    found = host()
    found.passes(timedelta(hours=5))
    assert found.rows() == [
        ("08:10", 29, "missed", "older than the catch-up window of 10m"),
        ("13:00", 1, "queued", None),
    ]


def test_a_clock_set_forward_a_little_is_caught_up_like_sleep(host):
    found = host(catch_up="all", catch_up_window="1d")
    found.passes(minutes(1), stepped=minutes(40))
    assert [row[:3] for row in found.rows()] == [(f"08:{n}0", 1, "queued") for n in (1, 2, 3, 4)]


def test_a_clock_that_is_put_right_by_more_than_three_hours_leaves_nothing_to_catch_up(host):
    found = host(catch_up="all", catch_up_window="1d")
    found.passes(minutes(5), stepped=timedelta(hours=5))
    reason = "the clock was set forward to 2026-05-01T13:05:30Z, over this time"
    assert found.rows() == [("08:10", 30, "missed", reason)]
    found.passes(minutes(5))
    assert found.rows()[1:] == [("13:10", 1, "queued", None)]


def test_slots_before_the_clock_was_put_right_are_caught_up_as_ever(host):
    found = host(catch_up="all", catch_up_window="1d")
    found.scheduler.clock.look(found.wall + minutes(20), found.boot_us + 20 * 60 * 1_000_000)
    found.wall += minutes(20)
    found.boot_us += 20 * 60 * 1_000_000
    found.passes(minutes(1), stepped=timedelta(hours=4))
    states = [row[:3] for row in found.rows()]
    assert states == [("08:10", 1, "queued"), ("08:20", 1, "queued"), ("08:30", 24, "missed")]


def test_a_clock_set_back_brings_no_slot_twice_and_moves_no_cursor(host):
    found = host()
    found.passes(minutes(30))
    before = found.scheduler.mill.ledger.job("tick").cursor_us
    seen = found.rows()
    found.passes(minutes(1), stepped=timedelta(hours=-1))
    found.passes(minutes(20))
    found.scheduler.audit()
    found.scheduler.tick()
    assert found.rows() == seen
    assert found.scheduler.mill.ledger.job("tick").cursor_us == before
    found.passes(minutes(50))
    assert found.rows()[len(seen) :] == [("08:40", 1, "queued", None)]


def again(found):
    """(slot, state) of runs that do a slot again."""
    rows = found.scheduler.mill.ledger.runs("tick", limit=1000)
    return sorted((clock(run.slot_last_us), run.state) for run in rows if run.slot_key.startswith("r:"))


def test_slots_that_a_clock_far_ahead_gave_up_are_run_when_it_has_been_put_right(host):
    found = host()
    found.passes(minutes(1), stepped=timedelta(days=3650))
    cursor = found.scheduler.mill.ledger.job("tick").cursor_us
    found.passes(minutes(1), stepped=timedelta(days=-3650))
    found.passes(minutes(10))
    found.passes(minutes(10))
    found.scheduler.audit()
    found.scheduler.tick()
    assert again(found) == [("08:10", "queued"), ("08:20", "queued")]
    assert found.scheduler.mill.ledger.job("tick").cursor_us == cursor


def test_slots_that_ran_while_the_clock_was_ahead_do_not_run_again(host):
    found = host(catch_up="all", catch_up_window="1d")
    found.passes(minutes(1), stepped=minutes(60))
    found.passes(minutes(1), stepped=minutes(-60))
    found.passes(minutes(30))
    assert again(found) == []


def test_a_daemon_that_starts_when_the_clock_has_been_put_right_goes_on_too(host):
    found = host()
    found.passes(minutes(1), stepped=timedelta(days=3650))
    found.wall -= timedelta(days=3650)
    found = host()
    found.wall += timedelta(seconds=1)
    found.passes(minutes(10))
    assert again(found) == [("08:10", "queued")]


def test_a_run_whose_time_was_set_by_a_clock_ahead_is_claimed_now(host):
    found = host()
    found.passes(minutes(10), stepped=timedelta(hours=2))
    found.passes(minutes(1), stepped=timedelta(hours=-2))
    ledger, now = found.scheduler.mill.ledger, micros(found.wall)
    (due,) = [run for run in ledger.runs("tick") if run.state == "queued"]
    assert due.run_id in [row.run_id for row in ledger.claimable(now, 9)]
    assert isinstance(ledger.claim(due.run_id, Terms(), now), Claim)


def test_a_cursor_that_somebody_else_set_back_is_found(host):
    found = host()
    found.passes(minutes(10))
    with found.scheduler.mill.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE jobs SET cursor_us = cursor_us - 600000000 - 1")
        connection.exec_driver_sql("DELETE FROM runs")
        connection.commit()
    found.scheduler.poll()
    assert [row[:3] for row in found.rows()] == [("08:00", 1, "missed"), ("08:10", 1, "queued")]


def test_a_slot_that_was_asked_for_by_hand_stands_for_the_older_ones(host):
    found = host(catch_up_window="1h")
    mill = found.scheduler.mill
    half_past = MORNING.replace(minute=30, second=0)
    slot_run(mill, mill.registry.get("tick"), half_past, half_past + minutes(1), forced=False)
    found.passes(minutes(31))
    assert found.rows() == [("08:10", 2, "coalesced", "coalesced into run 1"), ("08:30", 1, "queued", None)]


def test_slots_of_a_paused_job_are_skipped_and_stay_so(host):
    found = host()
    found.scheduler.mill.ledger.set_job_state("tick", "paused")
    found.passes(minutes(30))
    found.scheduler.mill.ledger.set_job_state("tick", "enabled")
    found.passes(minutes(10))
    assert found.rows() == [("08:10", 3, "skipped", "paused"), ("08:40", 1, "queued", None)]
