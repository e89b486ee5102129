"""What a person, a cron line and a daemon see of one job: ended, refused, retried, cancelled, caught up."""

import time
from datetime import UTC, datetime, timedelta

PAST = "2026-03-08T07:00:00Z"


def test_a_slot_that_is_done_is_said_to_be_done_and_is_no_failure(clockmill):
    clockmill.configure('[jobs.mark]\ncommand = ["sh", "-c", "echo $CLOCKMILL_SLOT >> marks"]\nschedule = "0 * * * *"')
    clockmill("run", "mark", "--slot", PAST)
    again = clockmill("run", "mark", "--slot", PAST)
    assert "has succeeded already" in again.err
    assert (clockmill.folder / "marks").read_text() == f"{PAST}\n"


def test_a_slot_in_the_future_is_a_usage_error(clockmill):
    clockmill.configure('[jobs.mark]\ncommand = ["true"]\nschedule = "0 * * * *"')
    ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "is in the future" in clockmill("run", "mark", "--slot", ahead, code=2).err
    assert clockmill.runs("mark") == []


def test_a_run_that_overstays_is_killed_with_all_its_children_and_exits_124(clockmill):
    long = f"sleep {clockmill.mark}"
    script = f"{long} & setsid {long} & {long}"
    clockmill.configure(f'[jobs.slow]\ncommand = ["sh", "-c", "{script}"]\ntimeout = "1s"')
    clockmill("run", "slow", code=124)
    (run,) = clockmill.runs("slow")
    assert (run["state"], run["reason"]) == ("timed_out", "timed out after 1 s")
    assert clockmill.alive() == []


def test_a_failed_attempt_is_followed_by_others_after_growing_waits(clockmill):
    script = "echo try $CLOCKMILL_ATTEMPT; test $CLOCKMILL_ATTEMPT = 3"
    clockmill.configure(f'[jobs.shaky]\ncommand = ["sh", "-c", "{script}"]\nretries = 2\nbackoff = "1s"')
    clockmill("run", "shaky")
    (run,) = clockmill.runs("shaky")
    tried = clockmill("runs", "show", run["run_id"], "--json").json["tried"]
    assert [one["state"] for one in tried] == ["failed", "failed", "succeeded"]
    ended = [datetime.fromisoformat(one["ended_at"]) for one in tried]
    started = [datetime.fromisoformat(one["started_at"]) for one in tried]
    # A fifth more or less, so that runs which failed together do not come back together.
    assert started[1] - ended[0] >= timedelta(seconds=0.8)
    assert started[2] - ended[1] >= timedelta(seconds=1.6)
    logs = [clockmill("runs", "logs", run["run_id"], "--attempt", number).out for number in (1, 2, 3)]
    assert logs == ["try 1\n", "try 2\n", "try 3\n"]


def test_a_run_that_uses_up_its_retries_has_failed_with_its_last_reason(clockmill):
    clockmill.configure('[jobs.broken]\ncommand = ["sh", "-c", "exit 7"]\nretries = 1\nbackoff = "1s"')
    clockmill("run", "broken", code=1)
    (run,) = clockmill.runs("broken")
    assert (run["state"], run["reason"], run["attempt"]) == ("failed", "exit code 7", 2)


def test_a_second_run_is_skipped_while_the_first_is_running(clockmill):
    clockmill.configure(f'[jobs.long]\ncommand = ["sleep", "{clockmill.mark}"]')
    first = clockmill.start("run", "long")
    running = clockmill.wait_for_run("long", "running")
    second = clockmill("run", "long", code=75)
    assert "skipped" in second.err
    assert clockmill.runs("long")[0]["reason"] == f"overlap: run {running['run_id']} is running"
    clockmill("runs", "cancel", running["run_id"])
    first.end(1)
    assert [run["state"] for run in clockmill.runs("long")] == ["skipped", "cancelled"]
    assert clockmill.alive() == []


def test_force_runs_beside_a_running_one(clockmill):
    clockmill.configure(
        f'[jobs.long]\ncommand = ["sh", "-c", "test -e second || {{ touch second; sleep {clockmill.mark}; }}"]'
    )
    first = clockmill.start("run", "long")
    clockmill.wait_until((clockmill.folder / "second").exists)
    clockmill("run", "long", "--force")
    clockmill("runs", "cancel", clockmill.runs("long")[-1]["run_id"])
    first.end(1)


def test_a_paused_job_leaves_skipped_rows_until_it_is_resumed(clockmill):
    clockmill.configure('[jobs.mark]\ncommand = ["true"]\nschedule = "0 * * * *"')
    clockmill("jobs", "pause", "mark")
    clockmill("run", "mark", code=75)
    clockmill("run", "mark", "--slot", PAST, code=0)
    assert [(run["state"], run["reason"]) for run in clockmill.runs("mark")] == [("skipped", "paused")] * 2
    clockmill("jobs", "resume", "mark")
    clockmill("run", "mark")
    assert clockmill.runs("mark")[0]["state"] == "succeeded"


def test_after_a_stop_the_latest_missed_slot_stands_for_the_others(clockmill):
    clockmill.configure('[jobs.tick]\ncommand = ["true"]\nschedule = "* * * * * *"')
    daemon = clockmill.daemon()
    clockmill.wait_for_run("tick", "succeeded")
    daemon.send(15)
    daemon.end()
    stopped = time.monotonic()
    clockmill.wait_until(lambda: time.monotonic() > stopped + 3)
    clockmill.daemon()
    missed = clockmill.wait_for_run("tick", "coalesced")
    assert missed["slot_count"] >= 2
    (into,) = clockmill.query("SELECT * FROM runs WHERE run_id = ?", missed["coalesced_into"])
    assert missed["reason"] == f"coalesced into run {into['run_id']}"
    assert into["slot_us"] > missed["slot_last_us"]


def test_a_job_that_changes_its_schedule_counts_slots_from_then_on(clockmill):
    clockmill.configure('[jobs.tick]\ncommand = ["true"]\nschedule = "0 0 1 1 *"')
    clockmill("run", "tick")
    made = clockmill.runs("tick")[0]["created_us"]
    changed = time.monotonic()
    clockmill.wait_until(lambda: time.monotonic() > changed + 2)
    clockmill.configure('[jobs.tick]\ncommand = ["true"]\nschedule = "* * * * * *"')
    clockmill.daemon()
    clockmill.wait_until(lambda: len(clockmill.runs("tick")) >= 3)
    slots = [run["slot_us"] for run in clockmill.runs("tick") if run["slot_us"] is not None]
    assert min(slots) > made + 2_000_000


def test_what_a_job_prints_goes_to_its_log_as_it_comes(clockmill):
    clockmill.configure('[jobs.talk]\ncommand = ["sh", "-c", "echo one; echo two >&2; printf \'\\\\377\'"]')
    clockmill("run", "talk", "--json")
    log = clockmill.folder / "var" / "logs" / f"{clockmill.runs('talk')[0]['run_id']}.1.log"
    assert log.read_bytes() == b"one\ntwo\n\xff"
