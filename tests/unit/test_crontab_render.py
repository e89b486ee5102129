"""The schedule as lines for system cron."""

import pytest

from clockmill import crontab
from clockmill.errors import ConfigError
from clockmill.job_spec import JobSpec
from clockmill.schedule import parse

PATHS = {"bin": "/opt/mill/bin/clockmill", "home": "/srv/mill", "log": "/srv/mill/var/cron.log"}


@pytest.fixture(autouse=True)
def in_oslo(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Oslo")


def rendered(*jobs, **paths):
    pairs = [
        (spec, parse(spec.schedule, name=spec.name, timezone="Europe/Oslo") if spec.schedule else None) for spec in jobs
    ]
    return crontab.render(pairs, **{**PATHS, **paths})


def lines(text):
    return [line for line in text.splitlines() if " run " in line]


def job(name, *schedule, **policies):
    return JobSpec(name, schedule=schedule, timezone=policies.pop("timezone", "local"), **policies)


def test_each_job_is_a_line_that_runs_its_latest_slot():
    assert lines(rendered(job("mill", "15 3 * * *"))) == [
        "15 3 * * * /opt/mill/bin/clockmill run mill --slot >> /srv/mill/var/cron.log 2>&1"
    ]


def test_a_job_with_several_expressions_has_several_lines():
    assert [line.split(" /")[0] for line in lines(rendered(job("mill", "0 3 * * *", "30 12 * * 1-5")))] == [
        "0 3 * * *", "30 12 * * 1-5",
    ]  # fmt: skip


def test_a_job_without_a_schedule_has_no_line():
    assert lines(rendered(job("mill"), job("press", "@daily"))) == lines(rendered(job("press", "@daily")))


def test_the_home_is_set_for_every_line():
    assert "CLOCKMILL_HOME=/srv/mill\n" in rendered(job("mill", "@daily"))


def test_a_percent_sign_is_escaped_and_a_blank_is_quoted():
    (line,) = lines(rendered(job("mill", "@daily"), bin="/opt/100% mill/clockmill"))
    assert "'/opt/100\\% mill/clockmill' run mill" in line


def test_a_job_in_the_systems_zone_by_its_name_is_rendered():
    assert len(lines(rendered(job("mill", "15 3 * * *", timezone="Europe/Oslo")))) == 1


def test_every_job_that_cron_cannot_run_is_named_with_the_reason():
    with pytest.raises(ConfigError) as caught:
        rendered(job("mill", "0 0 * * *", timezone="Asia/Tokyo"), job("press", "*/10 * * * * *"), job("ok", "@daily"))
    assert "job mill: its zone is Asia/Tokyo, system cron works in the system's, Europe/Oslo" in str(caught.value)
    assert "job press: " in str(caught.value)
    assert "job ok" not in str(caught.value)


@pytest.mark.parametrize("option", ["bin", "home", "log"])
def test_a_path_with_a_line_break_is_refused(option):
    with pytest.raises(ConfigError, match="cannot hold control characters"):
        rendered(job("mill", "@daily"), **{option: "/srv/a\n* * * * * rm -rf /"})


@pytest.mark.parametrize(("a", "b"), [("UTC", "Etc/UTC"), ("Zulu", "UTC"), ("Europe/Oslo", "Europe/Oslo")])
def test_zones_of_one_meaning_are_one(a, b):
    assert crontab.same_zone(a, b)
    assert not crontab.same_zone(a, "Asia/Tokyo")
