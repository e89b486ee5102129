"""A crontab as people have it: what is read, what is refused, and the command jobs it becomes."""

import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clockmill.config import merge
from clockmill.crontab_file import CrontabFile, read_crontab
from clockmill.crontab_import import append, to_toml
from clockmill.crontab_install import difference, with_block
from clockmill.errors import ConfigError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(text: str | bytes, system: bool = False) -> CrontabFile:
    return read_crontab(text if isinstance(text, bytes) else text.encode(), system=system, now=NOW)


def wrong(text: str | bytes, system: bool = False) -> list[str]:
    return [str(problem) for problem in read(text, system).wrong]


def jobs(text: str, system: bool = False) -> dict[str, Any]:
    return tomllib.loads(to_toml(read(text, system), "a crontab", set())).get("jobs", {})


# -- what is wrong


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("*/0 * * * * x\n", "minute is '*/0'; allowed: a step of 1 or more"),
        ("60 * * * * x\n", "minute is '60'; allowed: 0-59"),
        ("0 24 * * * x\n", "hour is '24'; allowed: 0-23"),
        ("0 0 * * fun x\n", "day of week is 'fun'"),
        ("0 0 1," + "2," * 5000 + "3 * * x\n", "day of month has 10003 characters; allowed: at most 4096"),
        ("* * * * * * * * x\n", "it has 8 fields; cron reads 5"),
        ("0 30 2 * * * x\n", "it has 6 fields; cron reads 5"),
        ("0 3 * * *\n", "it has no command"),
        ("0 3 *\n", "it has 3 fields and no command"),
        ("0 3 * * * x\r\n", "ends with a carriage return"),
        ("0 3 * * * x\0y\n", "column 12 is NUL"),
        ("0 3 * * é x\n", "day of week holds '\\xe9', a line break, control or non-ASCII character"),
        ("0\u00a03 * * * x y\n", "non-ASCII character"),
        ("CRON_TZ=Mars/Olympus\n", "CRON_TZ: time zone is 'Mars/Olympus'; allowed: an IANA name"),
        ("@often x\n", "nickname is '@often'"),
        ("@every 5m x\n", "cron has no @every"),
        ("0 3 * * * x", "no line break at its end"),
    ],
)
def test_a_bad_line_is_told_by_number_and_field_at_once(line: str, words: str) -> None:
    begin = time.perf_counter()
    (problem,) = wrong("# a comment\n" + line)
    assert time.perf_counter() - begin < 0.1
    assert problem.startswith("line 2: ")
    assert words in problem


def test_a_line_that_is_not_utf_8_is_told() -> None:
    assert wrong(b"0 3 * * * x\n0 4 * * * \xff\n") == ["line 2: column 11 is not UTF-8"]


@pytest.mark.parametrize(
    "text", ["0\t3 * *\t* x\n", "\t 0 3 * * * x\n", "0 3 * * * echo é\n", "#\tonly a comment\n", ""]
)
def test_tabs_and_words_of_any_language_are_no_problem_where_cron_takes_them(text: str) -> None:
    assert read(text).problems == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 3 * * * /usr/bin/x\n", "user is '/usr/bin/x'; a system crontab names a user"),
        ("0 3 * * * root\n", "it has a user, root, and no command"),
    ],
)
def test_a_system_crontab_needs_a_user(line: str, words: str) -> None:
    (problem,) = wrong(line, system=True)
    assert words in problem


def test_odd_lines_are_noted_and_still_read() -> None:
    file = read("0 0 13 * fri x\n*/90 * * * * y\n0 3 * * * date +%F\n0 3 * * * root x\n")
    assert len(file.entries) == 4
    assert [(problem.line, problem.mild) for problem in file.problems] == [(n, True) for n in (1, 2, 3, 4)]


FOREIGN = ["H 3 * * * x\n", "0 0 L * * x\n", "0 0 ? * 1 x\n", "0 0 15W * * x\n", "0 0 * * fri#2 x\n",
           "20/10 * * * * x\n", "0 0 13 * +fri x\n", "0~9 * * * * x\n", "0 0 * * friday x\n"]  # fmt: skip


@pytest.mark.parametrize("line", FOREIGN)
def test_what_only_clockmill_understands_is_imported_and_is_nothing_for_cron(line: str) -> None:
    file = read(line)
    assert (len(file.entries), file.wrong) == (1, [])
    assert len(file.unusable) == 1
    assert "cron does not know" in str(file.unusable[0])


# -- what is read


def test_a_line_becomes_a_command_job_that_cron_would_have_run_so() -> None:
    assert jobs("5 3 * * * /opt/dump.sh --all > /dev/null\n") == {
        "dump": {
            "schedule": "5 3 * * *",
            "command": "/opt/dump.sh --all > /dev/null",
            "shell": True,
            "folder": "~",
            "timeout": "1d",
        }
    }


def test_what_follows_a_percent_sign_is_the_input() -> None:
    (job,) = jobs("0 3 * * * mail -s 50\\% ops%Hello,%100\\% done\n").values()
    assert job["command"] == "mail -s 50% ops"
    assert job["stdin"] == "Hello,\n100% done\n"


def test_variables_hold_for_the_lines_below_them() -> None:
    found = jobs(
        "0 1 * * * one\nMAILTO=ops@example.com\nPATH = '/a b:/c' \n0 2 * * * two\nMAILTO=\"\"\n0 3 * * * three\n"
    )
    assert "environment" not in found["one"]
    assert found["two"]["environment"] == {"MAILTO": "ops@example.com", "PATH": "/a b:/c"}
    assert found["three"]["environment"] == {"MAILTO": "", "PATH": "/a b:/c"}


def test_shell_and_home_are_those_of_the_crontab() -> None:
    (job,) = jobs("SHELL=/bin/bash\nHOME=/srv/app\n0 1 * * * ./one\n").values()
    assert job["command"] == ["/bin/bash", "-c", "./one"]
    assert job["folder"] == "/srv/app"


def test_cron_tz_is_the_zone_of_the_lines_below_it() -> None:
    found = jobs("0 1 * * * one\nCRON_TZ=Europe/Oslo\n0 1 * * * two\nCRON_TZ=\n0 1 * * * three\n")
    assert [job.get("timezone") for job in found.values()] == [None, "Europe/Oslo", None]


def test_another_user_runs_the_command_as_cron_would_let_it() -> None:
    (job,) = jobs("0 1 * * * nobody-here one\n", system=True).values()
    assert job["command"] == ["/usr/sbin/runuser", "-u", "nobody-here", "--", "/bin/sh", "-c", "one"]
    assert job["environment"] == {"LOGNAME": "nobody-here", "USER": "nobody-here"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# Nightly backup\n0 1 * * * /bin/x\n", "nightly-backup"),
        ("# name: dump.all\n0 1 * * * /bin/x\n", "dump-all"),
        ("# old words\n# Name: all that is dumped at night\n0 1 * * * /bin/x\n", "all-that-is-dumped-at-night"),
        ("# a long story about this line and its past\n0 1 * * * /bin/x\n", "x"),
        ("# 5 * * * * old\n0 1 * * * /bin/x\n", "x"),
        ("# first\n# second\n0 1 * * * /bin/x\n", "x"),
        ("0 1 * * * cd / && run-parts --report /etc/cron.daily\n", "cron-daily"),
        ("0 1 * * * test -x /a && nice -n 5 /usr/local/bin/Sync.sh -q\n", "sync"),
        ("0 1 * * * flock -n /run/lock /usr/bin/php /srv/cleanup.php\n", "cleanup"),
        ("0 1 * * * FOO=1 /opt/job.py | tee log\n", "job"),
        ("@daily [ -d /x ]\n", "job"),
    ],
)
def test_a_job_is_named_by_the_comment_above_it_or_by_its_command(text: str, name: str) -> None:
    assert list(jobs(text)) == [name]


def test_names_are_given_once() -> None:
    text = to_toml(read("0 1 * * * x\n0 2 * * * x\n"), "a crontab", {"x"})
    assert list(tomllib.loads(text)["jobs"]) == ["x-2", "x-3"]


def test_comments_keep_their_places() -> None:
    text = to_toml(
        read("# head\n\n# of one\n0 1 * * * one\n\n# of two\n0 2 * * * two\n# the end\n"), "a crontab", set()
    )
    places = [
        text.index(part) for part in ("# head", "# of one", "[jobs.of-one]", "# of two", "[jobs.of-two]", "# the end")
    ]
    assert places == sorted(places)


def test_every_crontab_of_debian_becomes_jobs_that_can_be_configured(data: Path) -> None:
    count = 0
    for path in sorted((data / "cron" / "debian-cron.d").iterdir()):
        if "anacrontab" in path.name:
            continue
        file = read(path.read_bytes(), system=True)
        assert file.wrong == [], path
        text = to_toml(file, path.name, set())
        count += len(merge(path, path, tomllib.loads(text), {}).table("jobs"))
        kept = [
            line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.strip().startswith("#")
        ]
        assert [line for line in kept if line not in text] == []
    assert count >= 110


def test_jobs_are_appended_to_a_configuration_that_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "clockmill.toml"
    path.write_text("[scheduler]\nworkers = 3\n")
    append(merge(tmp_path, path, {}, {}), path, to_toml(read("0 1 * * * one\n"), "a crontab", set()))
    assert tomllib.loads(path.read_text())["jobs"]["one"]["command"] == "one"
    assert tomllib.loads(path.read_text())["scheduler"] == {"workers": 3}


def test_nothing_is_appended_when_the_result_would_be_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "clockmill.toml"
    path.write_text('[jobs.one]\ncommand = ["true"]\n')
    with pytest.raises(ConfigError, match="cannot be appended"):
        append(merge(tmp_path, path, {}, {}), path, to_toml(read("0 1 * * * one\n"), "a crontab", set()))
    assert path.read_text() == '[jobs.one]\ncommand = ["true"]\n'


# -- the block in the user's own crontab

MINE = "PATH=/bin\n0 1 * * * mine\n"


def test_a_block_is_put_at_the_end_and_taken_out_again() -> None:
    text = with_block(MINE, "/srv/a", ["5 * * * * a"])
    assert text.startswith(MINE + "\n# BEGIN clockmill /srv/a (")
    assert text.endswith("\n5 * * * * a\n# END clockmill /srv/a\n")
    assert with_block(text, "/srv/a", []) == MINE


def test_only_this_homes_block_is_replaced_and_it_stays_in_its_place() -> None:
    both = with_block(with_block(MINE, "/srv/a", ["5 * * * * a"]), "/srv/ab", ["6 * * * * b"]) + "7 * * * * mine\n"
    again = with_block(both, "/srv/a", ["8 * * * * a"])
    assert again == both.replace("5 * * * * a", "8 * * * * a")
    assert with_block(both, "/srv/a", ["5 * * * * a"]) == both


def test_a_crontab_without_a_last_line_break_is_not_joined_with_the_block() -> None:
    assert with_block("0 1 * * * mine", "/srv/a", ["5 * * * * a"]).startswith("0 1 * * * mine\n")


def test_a_zone_above_the_block_is_refused() -> None:
    with pytest.raises(ConfigError, match="CRON_TZ=Asia/Tokyo"):
        with_block("CRON_TZ=Asia/Tokyo\n", "/srv/a", ["5 * * * * a"])


def test_a_block_that_somebody_cut_is_left_for_a_person() -> None:
    text = with_block(MINE, "/srv/a", ["5 * * * * a"]).replace("# END clockmill /srv/a\n", "")
    with pytest.raises(ConfigError, match="1 first and 0 last lines"):
        with_block(text, "/srv/a", [])


def test_the_difference_is_shown_as_diff_shows_it() -> None:
    shown = difference(MINE, MINE + "5 * * * * a\n")
    assert shown.splitlines()[2:] == ["@@ -1,2 +1,3 @@", " PATH=/bin", " 0 1 * * * mine", "+5 * * * * a"]
    assert difference(MINE, MINE) == ""
