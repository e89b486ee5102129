"""The JSON that programs read: one object on one line, with exactly these keys."""

import re

import pytest

RUN = ["run_id", "job", "state", "attempt", "rows_in", "rows_out", "seconds", "peak_rss_mb", "version"]
SECONDS = ["read", "compile", "compute", "write", "publish", "total"]
LISTED = ["run_id", "job", "slot", "state", "reason", "trigger", "attempts", "started_at", "ended_at", "host"]
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SLOT = "2026-03-08T07:00:00Z"
FRIENDS = "user_id,friend_id\n1,2\n1,3\n2,4\n3,4\n"
RATINGS = "user_id,product_id,value\n1,7,5\n1,8,5\n2,7,4\n2,8,4\n3,7,3\n3,9,3\n"


@pytest.fixture
def loaded(clockmill):
    clockmill("load", "friendships", clockmill.write("friends.csv", FRIENDS))
    return clockmill


def test_run_tells_what_the_run_came_to(loaded):
    run = loaded("run", "recommendations", "--json").json
    assert list(run) == RUN
    assert list(run["seconds"]) == SECONDS
    assert (run["job"], run["state"], run["attempt"]) == ("recommendations", "succeeded", 1)
    assert (run["rows_in"], run["rows_out"], run["version"]) == (4, 12, 1)
    assert run["peak_rss_mb"] > 1
    assert run["seconds"]["total"] >= sum(run["seconds"][phase] for phase in ("read", "compile", "compute"))


@pytest.mark.parametrize(("script", "code", "state"), [("true", 0, "succeeded"), ("exit 3", 1, "failed")])
def test_run_tells_the_same_of_a_command(clockmill, script, code, state):
    clockmill.configure(f'[jobs.mine]\ncommand = ["sh", "-c", "{script}"]')
    run = clockmill("run", "mine", "--json", code=code).json
    assert list(run) == RUN
    assert list(run["seconds"]) == SECONDS
    assert (run["state"], run["rows_out"], run["version"]) == (state, 0, None)
    assert run["seconds"]["total"] > 0


def test_run_tells_the_same_of_a_run_that_was_skipped(clockmill):
    clockmill.configure('[jobs.mine]\ncommand = ["true"]')
    clockmill("jobs", "pause", "mine")
    run = clockmill("run", "mine", "--json", code=75).json
    assert (list(run), run["state"], run["attempt"]) == (RUN, "skipped", 0)


def test_runs_list_tells_every_run_the_latest_first(clockmill):
    clockmill.configure('[jobs.mine]\ncommand = ["sh", "-c", "exit 3"]\nschedule = "0 * * * *"')
    clockmill("run", "mine", code=1)
    clockmill("run", "mine", "--slot", SLOT, code=1)
    found = clockmill("runs", "list", "--json").json
    assert list(found) == ["runs"]
    by_slot, by_hand = found["runs"]
    assert (list(by_slot), list(by_hand)) == (LISTED, LISTED)
    assert (by_slot["slot"], by_slot["trigger"], by_hand["slot"], by_hand["trigger"]) == (SLOT, "cron", None, "manual")
    assert (by_hand["job"], by_hand["state"], by_hand["reason"]) == ("mine", "failed", "exit code 3")
    assert (by_hand["attempts"], by_slot["run_id"] - by_hand["run_id"]) == (1, 1)
    assert INSTANT.fullmatch(by_hand["started_at"])
    assert INSTANT.fullmatch(by_hand["ended_at"])
    assert [run["run_id"] for run in clockmill("runs", "list", "--json", "--limit", 1).json["runs"]] == [2]
    assert len(clockmill("runs", "list", "--json", "--limit", 1_000_000).json["runs"]) == 2


def test_outputs_tell_one_entity(loaded):
    loaded("run", "recommendations")
    found = loaded("outputs", "get", "recommendations", 1, "--json").json
    assert (list(found), found["id"], found["version"]) == (["id", "version", "at", "items"], 1, 1)
    assert INSTANT.fullmatch(found["at"])
    ((candidate, score, why),) = found["items"]
    assert (candidate, why) == (4, {"mutual_count": 2, "mutual_ids": [2, 3]})
    assert score > 0
    friends = loaded("outputs", "get", "friends", 4, "--json").json
    assert {**friends, "at": None} == {"id": 4, "version": 1, "at": None, "items": [2, 3]}
    assert loaded("outputs", "mutual", 1, 4, "--json").json == {"count": 2, "ids": [2, 3]}
    assert loaded("outputs", "get", "recommendations", 99, "--json").json["items"] == []


def test_outputs_tell_similar_products(clockmill):
    clockmill("load", "ratings", clockmill.write("ratings.csv", RATINGS))
    clockmill("run", "similarity", "-p", "weighting=cosine")
    found = clockmill("outputs", "get", "similar", 7, "--json").json
    assert (list(found), found["id"]) == (["id", "version", "at", "items"], 7)
    ((product, score, why),) = found["items"]
    assert (product, why) == (8, {"support": 2})
    assert score == pytest.approx(41 / (50**0.5 * 41**0.5))


def test_next_tells_slots_in_utc(clockmill):
    words = ("30 2 * * *", "-n", 3, "--tz", "Europe/Oslo", "--from", "2026-03-27T12:00:00Z", "--json")
    # In the night of the 29th the clock jumps from 2:00 to 3:00: the job runs at the first instant after it.
    slots = ["2026-03-28T01:30:00+00:00", "2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]
    assert clockmill("next", *words).json == {"next": slots}


def test_next_needs_neither_job_nor_database(clockmill):
    clockmill.configure('[database]\nurl = "postgresql+psycopg://app@127.0.0.1:1/app"')
    assert len(clockmill("next", "@every 90s", "-n", 4, "--json").json["next"]) == 4
    assert not clockmill.database.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "list"),
        ("jobs", "show", "counters"),
        ("jobs", "next", "counters"),
        ("outputs", "list"),
        ("sources", "check"),
        ("sources", "preview", "users"),
        ("config", "show"),
        ("db", "check"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_every_reading_command_prints_one_object_on_one_line(clockmill, words):
    clockmill("jobs", "list")
    assert isinstance(clockmill(*words, "--json").json, dict)
