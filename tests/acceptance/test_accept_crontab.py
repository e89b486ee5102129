"""System cron takes the shipped lines, and one of them, run as cron runs it, is the slot's run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "crontab.example"


@pytest.fixture
def crontab():
    """Asks Debian's crontab whether it would take a file, without installing it."""
    program = shutil.which("crontab")
    if program is None:
        assert os.environ.get("CI") != "true", "crontab is not installed; apt-get install cron"
        pytest.skip("crontab is not installed; apt-get install cron")

    def ask(*words):
        return subprocess.run([program, *words], capture_output=True, text=True, check=False)

    usage = ask("-h")
    # The option was renamed between Debian 12 and 13.
    dry_run = "-n" if "dry run" in usage.stdout + usage.stderr else "-T"
    return lambda file: ask(dry_run, str(file))


def test_debian_takes_the_shipped_crontab(crontab):
    done = crontab(EXAMPLE)
    assert done.returncode == 0, done.stderr


def test_debian_refuses_a_crontab_that_is_wrong(crontab, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text(EXAMPLE.read_text().replace("*/5 * * * *", "61 * * * *"), encoding="utf-8")
    assert crontab(wrong).returncode != 0


def test_debian_takes_what_is_rendered_for_awkward_places(crontab, clockmill, tmp_path):
    odd = "/opt/50% off/it's here/clockmill"
    rendered = tmp_path / "rendered"
    rendered.write_text(clockmill("crontab", "render", "--bin", odd, "--home", "/srv/a b").out, encoding="utf-8")
    assert r"50\% off" in rendered.read_text()
    assert crontab(rendered).returncode == 0


def test_the_shipped_crontab_is_the_shipped_schedule(clockmill):
    assert clockmill("crontab", "render", "--example").out == EXAMPLE.read_text()


def test_a_rendered_line_run_as_cron_runs_it_is_the_run_of_the_latest_slot(clockmill):
    clockmill.configure('[jobs.mine]\ncommand = ["true"]\nschedule = "* * * * *"')
    rendered = clockmill("crontab", "render", "--bin", clockmill.command).out
    variables = dict(re.findall(r"^([A-Z_]+)=\"?(.*?)\"?$", rendered, flags=re.MULTILINE))
    line = next(line for line in rendered.splitlines() if " run mine " in line)
    command = line.split(maxsplit=5)[5].replace(r"\%", "%")
    clockmill.execute(variables["SHELL"], "-c", command, **variables).end()
    (run,) = clockmill.runs("mine")
    assert (run["trigger"], run["state"]) == ("cron", "succeeded")
    assert "run 1: mine, slot" in (clockmill.folder / "var" / "cron.log").read_text()


def test_a_job_in_another_zone_is_refused_with_the_reason(clockmill):
    clockmill.configure('[jobs.mine]\ncommand = ["true"]\nschedule = "0 4 * * *"\ntimezone = "Asia/Kathmandu"')
    refused = clockmill("crontab", "render", code=2)
    assert "job mine: its zone is Asia/Kathmandu" in refused.err
    assert refused.out == ""
