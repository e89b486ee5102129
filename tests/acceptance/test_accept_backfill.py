"""Slots of the past, run after all, and the question why a time has the row that it has."""

import json

FROM, TO = "2026-03-08T07:00:00Z", "2026-03-08T07:20:00Z"
SLOTS = ["2026-03-08T07:20:00Z", "2026-03-08T07:10:00Z", "2026-03-08T07:00:00Z"]
JOB = """
[jobs.mark]
command = ["sh", "-c", "echo $CLOCKMILL_SLOT >> marks; test ! -e broken"]
schedule = "*/10 * * * *"
"""


def marks(clockmill):
    path = clockmill.folder / "marks"
    return path.read_text().split() if path.exists() else []


def backfill(clockmill, *options, code=0):
    return clockmill("backfill", "mark", "--from", FROM, "--to", TO, "--json", *options, code=code).json


def test_slots_that_nobody_recorded_run_newest_first_and_once(clockmill):
    clockmill.configure(JOB)
    assert [run["slot"] for run in backfill(clockmill)["runs"]] == SLOTS
    assert marks(clockmill) == SLOTS
    assert backfill(clockmill)["runs"] == []
    rows = clockmill.runs("mark")
    assert {(row["trigger"], row["slot_key"][:2]) for row in rows} == {("backfill", "c:")}


def test_a_dry_run_shows_the_slots_and_leaves_no_trace(clockmill):
    clockmill.configure(JOB)
    found = backfill(clockmill, "--dry-run", "--limit", 2)
    assert found == {"slots": [{"slot": slot, "state": "not recorded"} for slot in SLOTS[:2]], "found": 3}
    assert marks(clockmill) == clockmill.runs("mark") == []


def test_failed_slots_run_again_only_when_asked_for_and_as_runs_of_their_own(clockmill):
    clockmill.configure(JOB)
    (clockmill.folder / "broken").touch()
    backfill(clockmill, "--limit", 1, code=1)
    (clockmill.folder / "broken").unlink()
    assert [run["slot"] for run in backfill(clockmill)["runs"]] == SLOTS[1:]
    assert [run["slot"] for run in backfill(clockmill, "--reprocess", "failed")["runs"]] == SLOTS[:1]
    assert backfill(clockmill, "--reprocess", "failed")["runs"] == []
    again, *_, first = clockmill.runs("mark")
    assert (again["retry_of"], again["slot_us"], again["slot_key"]) == (first["run_id"], None, f"r:{first['run_id']}:1")
    assert (first["state"], again["state"]) == ("failed", "succeeded")
    assert marks(clockmill) == [SLOTS[0], *SLOTS[1:], SLOTS[0]]


def test_completed_slots_run_again_when_asked_for(clockmill):
    clockmill.configure(JOB)
    backfill(clockmill)
    backfill(clockmill, "--reprocess", "completed", "--limit", 2)
    assert marks(clockmill) == [*SLOTS, *SLOTS[:2]]


def test_slots_that_one_row_stands_for_run_one_by_one(clockmill):
    clockmill.configure(JOB)
    clockmill("jobs", "pause", "mark")
    clockmill.execute("python3", "-c", SET_BACK, clockmill.database).end()
    clockmill("jobs", "resume", "mark")
    (row,) = clockmill.runs("mark")
    assert (row["state"], row["reason"], row["slot_us"]) == ("skipped", "paused", 1772953200000000)
    assert [run["slot"] for run in backfill(clockmill)["runs"]] == SLOTS
    assert marks(clockmill) == SLOTS
    why = json.loads(clockmill("runs", "why", "mark", SLOTS[1], "--json").out)
    assert f"run {row['run_id']} accounts for it, skipped: paused" in why["why"]
    assert (why["again"]["trigger"], why["again"]["state"]) == ("backfill", "succeeded")


SET_BACK = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("UPDATE jobs SET cursor_us = 1772953199000000")
"""


def test_a_paused_job_is_not_backfilled(clockmill):
    clockmill.configure(JOB)
    clockmill("jobs", "pause", "mark")
    refused = clockmill("backfill", "mark", "--from", FROM, "--to", TO, code=75)
    assert "job mark is paused" in refused.err


def test_why_tells_of_a_time_that_is_no_slot_and_names_its_neighbours(clockmill):
    clockmill.configure(JOB)
    said = clockmill("runs", "why", "mark", "2026-03-08T07:05:00Z").out
    assert (
        said
        == f"job mark has no slot at 2026-03-08T07:05:00Z; the schedule's neighbours are {SLOTS[2]} and {SLOTS[1]}\n"
    )


def test_why_tells_of_slots_without_a_row(clockmill):
    clockmill.configure(JOB)
    assert "is not known to the ledger" in clockmill("runs", "why", "mark", FROM).out
    clockmill("run", "mark")
    assert "was not known then" in clockmill("runs", "why", "mark", FROM).out
    assert "has not come yet" in clockmill("runs", "why", "mark", "2199-03-08T07:00:00Z").out
