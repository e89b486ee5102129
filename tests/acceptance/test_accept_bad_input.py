"""What users get wrong: each is told in one sentence where it stands and what is allowed, and costs nothing else."""

import json
import socket
import sqlite3
import subprocess
from contextlib import closing

import pytest

from db.redis_server import connect

FRIENDS = [(1, 2), (2, 3), (3, 4), (4, 1), (3, 5)]
LISTS = [(1, 3), (2, 4), (2, 5), (3, 1), (4, 2), (4, 5), (5, 2), (5, 4)]
MAPPED = """
[sources.friendships]
url = "sqlite:///app.db"
table = "friends"
columns = { user_id = "who", friend_id = "whom" }
"""


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("[scheduler]\nworker = 3", "[scheduler] worker", 'did you mean "workers"?'),
        ("[shceduler]\nworkers = 3", "[shceduler]", 'did you mean "scheduler"?'),
        ('[scheduler]\nworkers = "three"', "[scheduler] workers", "expected a whole number"),
        ('[scheduler]\njob_folders = ["absent"]', "[scheduler] job_folders", "no folder"),
        ("[scheduler]\njob_folders = [3]", "[scheduler] job_folders", "no folder"),
        ("[jobs.counters]\nschedule = 5", "[jobs.counters] schedule", "expected a text or a list"),
        ('[jobs.counters]\nschedule = "61 * * * *"', "[jobs.counters]", "minute is '61'; allowed: 0-59"),
        ('[jobs.counters]\nschedule = ["0 * * * *", 5]', "[jobs.counters]", "allowed: an expression"),
        ('[jobs.counters]\ntimezone = "Europe/Olso"', "[jobs.counters]", 'did you mean "Europe/Oslo"?'),
        ('[jobs.counters]\ntimeout = "soon"', "[jobs.counters] timeout", "write for instance 90s"),
        ('[jobs.counters]\noverlap = "forbit"', "[jobs.counters]", "allowed: skip, queue_one"),
        ('[jobs.counters]\nstart = "yesterday"', "[jobs.counters]", "write for instance 2026-03-08T07:00:00Z"),
        ('[jobs.counterz]\nschedule = "0 * * * *"', "[jobs.counterz]", 'did you mean "counters"?'),
        ('[jobs.x]\ncommand = "true"', "[jobs.x] command", "expected a list of texts"),
        ('[jobs."X y"]\ncommand = ["true"]', '[jobs."X y"]', "a name of a job is"),
        ('[jobs.recommendations]\nparams = { weightin = "jaccard" }', "weightin", 'did you mean "weighting"?'),
        ('[jobs.recommendations]\nparams = { weighting = "jacard" }', "weighting", 'did you mean "jaccard"?'),
        ('[sources.friendships]\ntabel = "x"', "[sources.friendships] tabel", 'did you mean "table"?'),
        ("workers = \n", "not TOML", "line 3"),
    ],
)
def test_a_configuration_error_names_file_and_key_and_what_is_allowed(clockmill, text, key, says):
    clockmill.configure(text)
    refused = clockmill("config", "check", code=2)
    assert str(clockmill.folder / "clockmill.toml") in refused.err
    assert key in refused.err
    assert says in refused.err
    assert refused.out == ""


def test_every_schedule_that_cannot_be_read_is_told_before_anything_heavy_is_imported(clockmill):
    clockmill.configure(
        '[jobs.a]\ncommand = ["true"]\nschedule = "*/0 * * * *"\n[jobs.b]\ncommand = ["true"]\n'
        'timezone = "Mars/Base"\nschedule = "0 3 * * *"'
    )
    command = (clockmill.binaries / "python", "-X", "importtime", clockmill.command, "config", "check")
    said = clockmill.execute(*command).end(2).err
    assert "line 5: [jobs.a]: schedule '*/0 * * * *': minute is '*/0'; allowed: a step of 1 or more" in said
    assert "line 8: [jobs.b]: time zone is 'Mars/Base'; allowed: an IANA name" in said
    assert not {"sqlalchemy", "redis", "numpy"} & {line.rpartition("|")[2].strip() for line in said.splitlines()}


def test_a_schedule_or_zone_that_a_variable_set_is_told_by_the_variable(clockmill):
    clockmill.configure('[jobs.a]\ncommand = ["true"]\nschedule = "0 3 * * *"')
    said = clockmill("config", "check", code=2, CLOCKMILL_JOBS__A__SCHEDULE="61 * * * *").err
    assert "error: CLOCKMILL_JOBS__A__SCHEDULE: [jobs.a]: schedule '61 * * * *': minute is '61'" in said
    said = clockmill("jobs", "list", CLOCKMILL_SCHEDULER__TIMEZONE="Mars").err
    assert "job news is broken: CLOCKMILL_SCHEDULER__TIMEZONE: [scheduler]: time zone is 'Mars'" in said


def test_a_variable_that_is_wrong_is_named_itself(clockmill):
    refused = clockmill("jobs", "list", code=2, CLOCKMILL_SCHEDULER__WORKERS="three")
    assert "CLOCKMILL_SCHEDULER__WORKERS" in refused.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "recomendations"), 'did you mean "recommendations"?'),
        (("runn", "counters"), 'did you mean "run"?'),
        (("run", "recommendations", "-p", "kk=3"), 'did you mean "k"?'),
        (("run", "recommendations", "-p", "k"), "expected KEY=VALUE"),
        (("run", "counters", "--slot", "yesterday"), "write for instance 2026-03-08T07:00:00Z"),
        (("next", "61 * * * *"), "minute is '61'; allowed: 0-59"),
        (("explain", "0 24 * * *"), "hour is '24'; allowed: 0-23"),
        (("explain", "countres"), 'did you mean "counters"?'),
        (("next", "0 3 * * *", "--from", "0001-01-01T00:00+14:00"), "outside of the years 1970 to 9999"),
        (("backfill", "counters", "--from", "0001-01-01", "--to", "2026-01-01"), "outside of the years 1970 to 9999"),
        (("runs", "show", "99"), "there is no run 99"),
        (("--config", "absent.toml", "jobs", "list"), "there is no file"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_a_usage_error(clockmill, words, says):
    assert says in clockmill(*words, code=2).err


def test_a_schedule_that_cannot_be_read_is_refused_by_hand_too_and_forgotten_when_mended(clockmill):
    clockmill.configure('[jobs.mark]\ncommand = ["true"]\nschedule = "61 * * * *"')
    clockmill("run", "mark", code=2)
    clockmill.configure('[jobs.mark]\ncommand = ["true"]\nschedule = "* * * * *"')
    clockmill("run", "mark", "--slot")
    assert [run["state"] for run in clockmill.runs("mark")] == ["succeeded"]


@pytest.mark.parametrize("words", [("crontab", "render"), ("crontab", "install", "--yes"), ("export", "systemd")])
def test_another_keeper_of_time_is_not_given_a_schedule_with_a_job_missing(clockmill, words):
    clockmill.configure('[jobs.mark]\ncommand = ["true"]\nschedule = "61 * * * *"')
    refused = clockmill(*words, code=2)
    assert "job mark is broken" in refused.err
    assert refused.out == ""


def test_a_simulation_leaves_out_a_job_that_cannot_run_and_says_so(clockmill):
    clockmill.configure('[jobs.mark]\ncommand = ["true"]\nschedule = "61 * * * *"')
    said = clockmill("simulate", "--from", "2026-03-08T00:00Z", "--to", "2026-03-08T00:10Z", "--job", "counters")
    assert "left out: job mark is broken" in said.err
    assert "3 slots" in said.err


# -- sources ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def application(clockmill):
    """Fills the application's table `friends` with these rows, in a database of its own."""

    def fill(rows, kind="INTEGER"):
        with closing(sqlite3.connect(clockmill.folder / "app.db")) as connection:
            connection.execute("DROP TABLE IF EXISTS friends")
            connection.execute(f"CREATE TABLE friends (who {kind}, whom {kind})")
            connection.executemany("INSERT INTO friends VALUES (?, ?)", rows)
            connection.commit()

    clockmill.configure(MAPPED)
    fill(FRIENDS)
    return fill


def lists(clockmill):
    """(user, candidate) of every recommendation that readers of SQL see."""
    rows = clockmill.query("SELECT user_id, candidate_id FROM recommendations_current ORDER BY user_id, candidate_id")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ('"friends"', '"frends"', '[sources.friendships] table: there is no table "frends"; did you mean "friends"?'),
        ('"whom"', '"whomm"', '[sources.friendships] columns.friend_id: the table "friends" has no column "whomm"'),
        ("app.db", "absent/app.db", "[sources.friendships] url: sqlite:///"),
        (
            "sqlite:///app.db",
            "postgresql+psycopg://app:secret@127.0.0.1:1/app",
            "[sources.friendships] url: postgresql",
        ),
        (
            "[sources.friendships]",
            '[sources.friendships]\nwhere = "who >"',
            "[sources.friendships] where: the database",
        ),
    ],
)
def test_a_source_that_cannot_be_read_fails_the_run_with_the_key_in_its_reason(
    clockmill, application, was, becomes, says
):
    clockmill.configure(MAPPED.replace(was, becomes))
    failed = clockmill("run", "recommendations", code=1)
    assert says in failed.err
    latest = clockmill("runs", "list", "--json", "--limit", 1).json["runs"][0]
    assert latest["state"] == "failed"
    assert latest["reason"].startswith(says)
    assert "secret" not in failed.err + latest["reason"]
    assert not (clockmill.folder / "absent").exists()


def test_after_a_failed_run_the_last_lists_are_still_read(clockmill, application):
    clockmill("run", "recommendations")
    clockmill.configure(MAPPED.replace('"friends"', '"frends"'))
    clockmill("run", "recommendations", code=1)
    assert lists(clockmill) == LISTS


def test_an_application_table_is_left_as_it_was(clockmill, application):
    before = (clockmill.folder / "app.db").read_bytes()
    clockmill("run", "recommendations")
    assert (clockmill.folder / "app.db").read_bytes() == before


@pytest.mark.parametrize(
    "rows",
    [
        [(b, a) for a, b in FRIENDS],
        [*FRIENDS, *FRIENDS],
        FRIENDS + [(b, a) for a, b in FRIENDS],
        [*FRIENDS, (1, 1), (5, 5)],
        [*FRIENDS, (1, None), (None, 2), (None, None)],
    ],
    ids=["turned round", "given twice", "both directions", "self-loops", "null ids"],
)
def test_friendships_may_come_in_any_state(clockmill, application, rows):
    application(rows)
    clockmill("run", "recommendations")
    assert lists(clockmill) == LISTS


def test_rows_without_an_id_are_counted_in_the_log(clockmill, application):
    application([*FRIENDS, (1, None), (6, 6)])
    run = clockmill("run", "recommendations", "--json").json
    log = clockmill("runs", "logs", run["run_id"]).out
    assert "friendships: 1 rows without a key were left out" in log
    assert "friendships: 1 rows of a user with themselves were left out" in log


def test_ids_may_be_texts(clockmill, application):
    application([("ann", "bob"), ("bob", "Ann"), ("bob", "çağ")], kind="TEXT")
    clockmill("run", "recommendations")
    found = clockmill("outputs", "get", "recommendations", "ann", "--json").json
    assert (found["id"], sorted(item[0] for item in found["items"])) == ("ann", ["Ann", "çağ"])


def test_an_empty_source_is_a_success_without_rows(clockmill, application):
    clockmill("run", "recommendations")
    application([])
    run = clockmill("run", "recommendations", "--json").json
    assert (run["state"], run["rows_in"], run["rows_out"]) == ("succeeded", 0, 0)
    assert lists(clockmill) == []


# -- databases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg://app:secret@127.0.0.1:1/app", "app:***@127.0.0.1:1/app does not answer"),
        ("mysql+pymysql://app:secret@127.0.0.1:1/app", "app:***@127.0.0.1:1/app does not answer"),
        ("sqlite:////proc/absent/clockmill.db", "the folder /proc/absent cannot be made"),
        ("sqlite:///clockmill.toml", "file is not a database"),
        ("sqlite://", "name a file"),
        ("mongodb://127.0.0.1", "is not a database URL; allowed: sqlite:///FILE"),
    ],
)
@pytest.mark.parametrize("words", [("run", "counters"), ("scheduler",)], ids=["run", "scheduler"])
def test_a_database_that_is_not_there_is_told_with_its_url_and_without_its_password(clockmill, words, url, says):
    clockmill.configure(f'[database]\nurl = "{url}"')
    failed = clockmill(*words, code=1)
    assert failed.err.startswith("error: [database] url: ")
    assert says in failed.err
    assert "secret" not in failed.err


# -- Redis ------------------------------------------------------------------------------------------------------------


def free_port():
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def late_redis(redis_folder):
    """A port, and a way to start a Redis server there."""
    port = free_port()
    started = []

    def start():
        program = connect("embedded", redis_folder).info("server")["executable"]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(redis_folder)]
        started.append(subprocess.Popen([program, *options], stdout=subprocess.DEVNULL))

    yield port, start
    for server in started:
        server.kill()
        server.wait()


def test_without_redis_a_job_succeeds_and_what_redis_is_owed_is_made_up_later(clockmill, late_redis):
    port, start = late_redis
    clockmill.configure("", redis=f"redis://127.0.0.1:{port}")
    clockmill.write("friends.csv", "user_id,friend_id\n1,2\n2,3\n")
    clockmill("load", "friendships", clockmill.folder / "friends.csv")
    run = clockmill("run", "recommendations", "--json").json
    assert run["state"] == "succeeded"
    assert f"127.0.0.1:{port}" in clockmill("runs", "logs", run["run_id"]).out
    assert lists(clockmill) == [(1, 3), (3, 1)]
    clockmill.daemon()
    start()
    redis = connect(f"redis://127.0.0.1:{port}", clockmill.folder)
    value = clockmill.wait_until(lambda: answer(redis, "cm:app:recommendations:1"), timeout=30)
    assert [item[0] for item in json.loads(value)["items"]] == [3]


def answer(redis, key):
    from redis.exceptions import ConnectionError

    try:
        return redis.get(key)
    except ConnectionError:
        return None


def test_a_redis_url_that_cannot_be_read_is_told_and_stops_no_job(clockmill):
    clockmill.configure("", redis="memcached://127.0.0.1")
    run = clockmill("run", "counters", "--json").json
    assert run["state"] == "succeeded"
    assert '[redis] url: "memcached://127.0.0.1" is not a Redis URL' in clockmill("runs", "logs", run["run_id"]).out


# -- feeds ------------------------------------------------------------------------------------------------------------

RSS = (
    '<rss version="2.0"><channel><item><guid>1</guid><title>First</title>'
    "<pubDate>Sun, 08 Mar 2026 07:00:00 GMT</pubDate></item></channel></rss>"
)


def test_a_feed_that_is_no_xml_fails_the_run_and_the_last_news_stay(clockmill, httpserver):
    httpserver.expect_ordered_request("/feed").respond_with_data(RSS, content_type="application/rss+xml")
    httpserver.expect_ordered_request("/feed").respond_with_data("Tuesday is closed.", content_type="text/plain")
    clockmill.configure('[fetch]\nallow_private = ["127.0.0.1"]\ncontact = "me@example.org"')
    url = httpserver.url_for("/feed").replace("localhost", "127.0.0.1")
    clockmill.write("feeds.csv", f"topic,url\ntech,{url}\n")
    clockmill("load", "feeds", clockmill.folder / "feeds.csv")
    clockmill("run", "news")
    failed = clockmill("run", "news", code=1)
    assert url in failed.err
    reason = clockmill("runs", "list", "--json", "--limit", 1).json["runs"][0]["reason"]
    assert reason.startswith(f"no feed could be read: {url}")
    titles = clockmill.query("SELECT title FROM news_current")
    assert [row["title"] for row in titles] == ["First"]


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("user,friend\n1,2\n", "user_id"),
        ("user_id,friend_id\n1,2\n3\n", "friends.csv"),
        ("", "friends.csv"),
    ],
    ids=["other headers", "a short row", "nothing"],
)
def test_a_file_that_does_not_fit_is_told_and_what_was_loaded_stays(clockmill, content, says):
    good = clockmill.write("good.csv", "user_id,friend_id\n1,2\n")
    clockmill("load", "friendships", good)
    bad = clockmill.write("friends.csv", content)
    assert says in clockmill("load", "friendships", bad, "--replace", code=(1, 2)).err
    rows = clockmill.query("SELECT user_id, friend_id FROM friendships")
    assert [tuple(row) for row in rows] == [(1, 2)]
