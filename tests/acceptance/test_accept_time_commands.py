"""Commands about time as they are installed; the crontab is one of the test's own, in front of the system's."""

import pytest

STUB = """#!/bin/sh
case $1 in
  -l) if [ -f {store} ]; then cat {store}; else echo "no crontab for you" >&2; exit 1; fi ;;
  -r) rm {store} ;;
  -) cat > {store} ;;
esac
"""
JOBS = '[jobs.mark]\ncommand = ["true"]\nschedule = "*/5 * * * *"\n'


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "stub"
    folder.mkdir()
    (folder / "crontab").write_text(STUB.format(store=folder / "store"))
    (folder / "crontab").chmod(0o755)
    return folder / "store"


def crontab(clockmill, store, *words, code=0):
    return clockmill("crontab", *words, code=code, PATH=f"{store.parent}:/usr/bin:/bin")


def test_install_shows_the_difference_and_touches_nothing_but_its_own_block(clockmill, store):
    clockmill.configure(JOBS)
    store.write_text("MAILTO=me\n0 1 * * * mine\n")
    shown = crontab(clockmill, store, "install", "--yes").out
    assert "+*/5 * * * * /usr/bin/env CLOCKMILL_HOME=" in shown
    lines = store.read_text().splitlines()
    assert lines[:3] == ["MAILTO=me", "0 1 * * * mine", ""]
    assert lines[3].startswith("# BEGIN clockmill")
    assert [line for line in lines if " run mark --slot >> " in line]
    (kept,) = (clockmill.folder / "var").glob("crontab.*")
    assert kept.read_text() == "MAILTO=me\n0 1 * * * mine\n"
    assert "so already" in crontab(clockmill, store, "install", "--yes").err
    crontab(clockmill, store, "uninstall", "--yes")
    assert store.read_text() == "MAILTO=me\n0 1 * * * mine\n"


def test_install_without_an_answer_changes_nothing(clockmill, store):
    clockmill.configure(JOBS)
    crontab(clockmill, store, "install", code=1)
    assert not store.exists()


def test_install_into_no_crontab_at_all_and_out_of_it(clockmill, store):
    clockmill.configure(JOBS)
    assert "crontab -r" in crontab(clockmill, store, "install", "--yes").err
    crontab(clockmill, store, "uninstall", "--yes")
    assert not store.exists()


def test_an_installed_line_runs_the_slot_as_cron_would(clockmill, store):
    clockmill.configure(JOBS)
    crontab(clockmill, store, "install", "--yes")
    (line,) = [line for line in store.read_text().splitlines() if " run mark " in line]
    clockmill.execute("sh", "-c", line.split(None, 5)[5]).end()
    (run,) = clockmill.runs("mark")
    assert (run["trigger"], run["state"]) == ("cron", "succeeded")


def test_check_says_what_is_wrong_in_which_line_and_runs_nothing(clockmill, tmp_path):
    (tmp_path / "bad").write_text("# mine\n0 3 * * * ok\n60 * * * * x\n")
    said = clockmill("crontab", "check", tmp_path / "bad", code=2)
    assert "bad: line 3: schedule '60 * * * *': minute is '60'; allowed: 0-59" in said.err
    assert not clockmill.database.exists()
    found = clockmill("crontab", "check", tmp_path / "bad", "--json", code=2).json
    assert (found["jobs"], [problem["line"] for problem in found["problems"]]) == (1, [3])


def test_what_is_ours_alone_is_wrong_for_cron_and_right_to_import(clockmill, tmp_path):
    (tmp_path / "ours").write_text("0 3 L * * x\n")
    assert "ours: line 1: cron does not know 'L'" in clockmill("crontab", "check", tmp_path / "ours", code=2).err
    assert 'schedule = "0 3 L * *"' in clockmill("crontab", "import", tmp_path / "ours").out


def test_an_imported_line_runs_as_it_did_in_cron(clockmill, tmp_path):
    clockmill.configure("")
    line = "GREETING='good morning'\n# Greet\n0 3 * * * cat; echo $GREETING 100\\%; pwd%one%two\n"
    (tmp_path / "mine").write_text(line)
    assert "[jobs.greet]" in clockmill("crontab", "import", tmp_path / "mine").out
    clockmill("crontab", "import", tmp_path / "mine", "--write")
    run = clockmill("run", "greet", "--json").json
    home = clockmill.elsewhere
    assert clockmill("runs", "logs", run["run_id"]).out == f"one\ntwo\ngood morning 100%\n{home}\n"


def test_a_crontab_that_cannot_be_read_is_not_imported(clockmill, tmp_path):
    clockmill.configure("")
    before = (clockmill.folder / "clockmill.toml").read_text()
    (tmp_path / "mine").write_text("0 3 * * * fine\n0 3 * * fun x\n")
    said = clockmill("crontab", "import", tmp_path / "mine", "--write", code=2)
    assert "nothing was imported" in said.err
    assert (clockmill.folder / "clockmill.toml").read_text() == before


def test_systemd_units_are_written_for_every_job(clockmill, tmp_path):
    clockmill.configure(JOBS)
    clockmill("export", "systemd", "--out", tmp_path / "units", "--bin", "/opt/clockmill")
    assert (tmp_path / "units" / "clockmill-mark.timer").read_text().count("OnCalendar=") == 1
    assert "ExecStart=/opt/clockmill run mark --slot" in (tmp_path / "units" / "clockmill-mark.service").read_text()


def test_the_last_second_that_python_knows_is_shown(clockmill):
    said = clockmill("next", "@at 9999-12-31T23:59:59Z", "--tz", "Pacific/Kiritimati")
    assert said.out == "Fri 9999-12-31 23:59:59 UTC   9999-12-31T23:59:59Z\n"


def test_next_of_what_has_no_slots_says_so(clockmill):
    assert clockmill("next", "0 0 30 2 *").out == "never\n"
    assert clockmill("next", "@reboot").out == "when the host starts\n"
    assert clockmill("next", "@reboot", "--json").json == {"next": []}


def test_lint_exits_with_1_when_it_finds_something(clockmill):
    clockmill.configure("")
    assert "0 findings" in clockmill("jobs", "lint").err
    clockmill.configure('[jobs.never]\ncommand = ["true"]\nschedule = "0 0 30 2 *"\n')
    assert clockmill("jobs", "lint", code=1).out == 'never: "0 0 30 2 *" never comes [never]\n'
    assert clockmill("jobs", "lint", "--ignore", "never").out == ""


def test_simulate_shows_a_picture_and_leaves_no_run_behind(clockmill):
    clockmill.configure(JOBS)
    words = ("simulate", "--from", "2026-03-08T00:00Z", "--to", "2026-03-08T01:00Z", "--job", "mark")
    down = ("--down", "2026-03-08T00:12Z..2026-03-08T00:33Z")
    said = clockmill(*words, *down)
    assert said.out.splitlines()[1].startswith("mark  ##")
    assert "13 slots: 9 succeeded, 3 missed, 1 running" in said.err
    rows = clockmill(*words, *down, "--json").json["runs"]
    assert [(row["slot"][11:16], row["slots"]) for row in rows if row["state"] == "missed"] == [("00:15", 3)]
    assert clockmill.runs("mark") == []
