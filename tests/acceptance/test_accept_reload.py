"""A daemon that goes over to a new configuration on SIGHUP, and jobs that start with the host."""

import signal

EVERY_SECOND = '[jobs.tick]\ncommand = ["true"]\nschedule = "* * * * * *"\n'


def reload(clockmill, daemon, words):
    """Sends SIGHUP and waits for these words in the daemon's log."""
    before = daemon.err.read_text().count(words)
    daemon.send(signal.SIGHUP)
    clockmill.wait_until(lambda: daemon.err.read_text().count(words) > before)
    return daemon.err.read_text()


def test_new_gone_and_changed_jobs_are_told_and_taken_over(clockmill):
    clockmill.configure('[jobs.old]\ncommand = ["true"]\n[jobs.tick]\ncommand = ["true"]\nschedule = "0 0 1 1 *"\n')
    daemon = clockmill.daemon()
    clockmill.configure(f'{EVERY_SECOND}[jobs.fresh]\ncommand = ["true"]\nschedule = "* * * * * *"\n')
    said = reload(clockmill, daemon, "reloaded: ")
    assert "job tick: schedule 0 0 1 1 * -> * * * * * *" in said
    assert "job old: gone" in said
    assert "job fresh: new, * * * * * *" in said
    clockmill.wait_for_run("tick", "succeeded")
    clockmill.wait_for_run("fresh", "succeeded")
    (old,) = clockmill.query("SELECT state FROM jobs WHERE name = 'old'")
    assert old["state"] == "broken"


def test_a_bad_file_leaves_the_last_good_configuration_running(clockmill):
    clockmill.configure(EVERY_SECOND)
    daemon = clockmill.daemon()
    clockmill.wait_for_run("tick", "succeeded")
    for wrong, words in (
        ("[jobs.tick]\nschedule = \n", "not TOML"),
        (EVERY_SECOND.replace("* * * * * *", "61 * * * *"), "minute is '61'"),
        (EVERY_SECOND + '[scheduler]\nnamespace = "other"\n', "[scheduler] namespace cannot change"),
    ):
        clockmill.configure(wrong)
        said = reload(clockmill, daemon, "not reloaded, the last good configuration goes on: ")
        assert words in said
    seen = clockmill.runs("tick")[0]["run_id"]
    clockmill.wait_until(lambda: clockmill.runs("tick")[0]["run_id"] > seen + 1)


def test_a_running_job_is_untouched_and_the_next_attempt_runs_the_new_code(clockmill):
    folder = clockmill.folder / "mine"
    folder.mkdir()
    head = "import time\nfrom clockmill import job\n\n@job(timeout='1m')\ndef mine(ctx):\n"
    source = head + "    print('{word}')\n    {stay}\n"
    (folder / "mine.py").write_text(source.format(word="the old code", stay="time.sleep(8)"))
    clockmill.configure('[scheduler]\njob_folders = ["mine"]\n[jobs.mine]\nschedule = "@reboot"\n')
    daemon = clockmill.daemon()
    first = clockmill.wait_for_run("mine", "running")
    (folder / "mine.py").write_text(source.format(word="the new code is longer", stay="pass"))
    clockmill.configure(
        '[scheduler]\njob_folders = ["mine"]\n[jobs.mine]\nschedule = "* * * * * *"\noverlap = "allow"\n'
    )
    reload(clockmill, daemon, "reloaded: ")
    clockmill.wait_until(lambda: [run for run in clockmill.runs("mine") if run["state"] == "succeeded"])
    latest = next(run for run in clockmill.runs("mine") if run["state"] == "succeeded")
    assert clockmill("runs", "logs", latest["run_id"]).out == "the new code is longer\n"
    clockmill.wait_until(lambda: clockmill.runs("mine")[-1]["state"] == "succeeded")
    assert clockmill.runs("mine")[-1]["run_id"] == first["run_id"]
    assert clockmill("runs", "logs", first["run_id"]).out == "the old code\n"
    daemon.send(signal.SIGTERM)
    assert "Traceback" not in daemon.end().err


def test_code_that_cannot_be_loaded_is_not_taken_over(clockmill):
    folder = clockmill.folder / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from clockmill import job\n\n@job(schedule='* * * * * *')\ndef mine(ctx):\n    pass\n"
    )
    clockmill.configure('[scheduler]\njob_folders = ["mine"]\n')
    daemon = clockmill.daemon()
    clockmill.wait_for_run("mine", "succeeded")
    (folder / "mine.py").write_text("from clockmill import no_such_thing\n")
    said = reload(clockmill, daemon, "not reloaded, the last good configuration goes on: ")
    assert "job mine is broken: ImportError" in said
    seen = clockmill.runs("mine")[0]["run_id"]
    clockmill.wait_until(lambda: clockmill.runs("mine")[0]["run_id"] > seen + 1)


def test_a_reboot_job_runs_once_for_each_boot_whoever_comes_first(clockmill):
    clockmill.configure('[jobs.up]\ncommand = ["true"]\nschedule = "@reboot"\n')
    clockmill("run", "up", "--slot")
    daemon = clockmill.daemon()
    clockmill.wait_for_run("up", "succeeded")
    daemon.send(signal.SIGTERM)
    daemon.end()
    assert "has succeeded already" in clockmill("run", "up", "--slot").err
    assert "run 1 accounts for this start of host" in clockmill("runs", "why", "up").out
    (run,) = clockmill.runs("up")
    assert (run["trigger"], run["slot_key"][:2], run["slot_us"]) == ("reboot", "b:", None)
