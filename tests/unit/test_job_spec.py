"""What a job may be declared to be."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from clockmill import Output, job
from clockmill.errors import ConfigError
from clockmill.job_spec import JobSpec, override

RECOMMEND = JobSpec(
    "recommend", params={"weighting": "jaccard", "k": 20, "ratio": 0.5, "full": False, "free": None},
    choices={"weighting": ("jaccard", "adamic_adar")},
)  # fmt: skip


def test_a_decorated_function_stays_what_it_was():
    @job(schedule="@hourly")
    def mill(ctx):
        return ctx

    assert mill(7) == 7
    assert mill.clockmill_job.name == "mill"
    assert mill.clockmill_job.function is mill


def test_policies_are_read_as_the_configuration_writes_them():
    @job(
        name="mill-2",
        schedule=["@hourly", "@daily"],
        timeout="30m",
        backoff="5s",
        overlap="replace",
        start="2026-03-08",
    )
    def mill(ctx):
        pass

    spec = mill.clockmill_job
    assert (spec.name, spec.schedule) == ("mill-2", ("@hourly", "@daily"))
    assert (spec.timeout, spec.backoff) == (timedelta(minutes=30), timedelta(seconds=5))
    assert (spec.overlap, spec.start) == ("cancel_previous", datetime(2026, 3, 8))


def test_what_is_not_said_has_the_houses_defaults():
    spec = JobSpec("mill")
    assert (spec.overlap, spec.catch_up, spec.catch_up_window, spec.on_lost) == ("skip", "latest", None, "rerun")
    assert (spec.dst_gap, spec.dst_overlap) == ("run", "first")
    assert (spec.timeout, spec.retries, spec.executor) == (timedelta(hours=1), 0, "process")


def test_an_unknown_policy_is_refused_when_it_is_written():
    told = "@job: unknown 'retrys'; allowed: name, outputs, params, choices, shard, schedule"
    with pytest.raises(ConfigError, match=told):
        job(retrys=3)


@pytest.mark.parametrize("name", ["", "Mill", "-mill", "a b", "x" * 65, "mühle", "a/b"])
def test_a_name_is_of_a_few_plain_characters(name):
    with pytest.raises(ConfigError, match="a name is"):
        JobSpec(name)


@pytest.mark.parametrize("name", ["a", "9", "nightly-export", "a.b_c", "x" * 64])
def test_a_name_may_have_digits_dots_and_dashes(name):
    assert JobSpec(name).name == name


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"catch_up": "some"}, 'catch_up = "some"; allowed: none, latest, earliest, all'),
        ({"overlap": "maybe"}, 'overlap = "maybe"; allowed: skip, queue_one, queue_all'),
        ({"on_lost": "cry"}, 'on_lost = "cry"; allowed: rerun, fail'),
        ({"executor": "rocket"}, 'executor = "rocket"; allowed: process, thread, command'),
        ({"timeout": "0s"}, "timeout must be longer than 0 s"),
        ({"retries": -1}, "retries = -1; allowed: 0 and up"),
        ({"start": "tomorrow"}, "tomorrow"),
    ],
)
def test_a_policy_that_is_not_allowed_is_refused(policy, sentence):
    with pytest.raises(ConfigError, match=sentence):
        override(JobSpec("mill"), policy)


def test_a_kept_specification_comes_back_with_its_policies():
    spec = override(JobSpec("mill"), {
        "schedule": ["@hourly"], "timezone": "Europe/Oslo", "jitter": "5m", "start": "2026-03-08T00:00:00+00:00",
        "catch_up": "all", "catch_up_window": "2h", "exclude": ["2026-12-24"], "overlap": "queue_one",
    })  # fmt: skip
    assert JobSpec.from_identity("mill", spec.identity()) == spec


def test_a_kept_command_comes_back():
    spec = JobSpec("export", command=("echo", "x"), executor="command")
    assert JobSpec.from_identity("export", spec.identity()).command == ("echo", "x")


@pytest.mark.parametrize("changed", [{"schedule": ("@daily",)}, {"timeout": timedelta(1)}, {"params": {"k": 1}}])
def test_whatever_changes_how_a_job_runs_changes_its_identity(changed):
    assert replace(JobSpec("mill"), **changed).identity() != JobSpec("mill").identity()


# -- parameters


def test_given_parameters_override_and_the_rest_stays():
    assert RECOMMEND.with_params({"k": 5}).params == {**RECOMMEND.params, "k": 5}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"weigthing": "jaccard"}, 'no parameter "weigthing"; did you mean "weighting"?'),
        ({"k": "5"}, "params.k = '5': expected a whole number"),
        ({"k": True}, "params.k = True: expected a whole number"),
        ({"full": 1}, "params.full = 1: expected true or false"),
        ({"ratio": "x"}, "params.ratio = 'x': expected a number"),
        (
            {"weighting": "jacard"},
            'params.weighting = "jacard"; did you mean "jaccard"?; allowed: jaccard, adamic_adar',
        ),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused(given, sentence):
    with pytest.raises(ConfigError) as caught:
        RECOMMEND.with_params(given)
    assert sentence in str(caught.value)


def test_a_whole_number_serves_where_a_number_is_asked_for():
    assert RECOMMEND.with_params({"ratio": 1}).params["ratio"] == 1


def test_a_parameter_without_a_default_takes_anything():
    assert RECOMMEND.with_params({"free": ["x"]}).params["free"] == ["x"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("k", "5", 5), ("ratio", "0.25", 0.25), ("full", "yes", True), ("full", "FALSE", False), ("weighting", "5", "5"),
     ("k", "five", "five"), ("unknown", "x", "x")],
)  # fmt: skip
def test_a_parameter_from_a_command_line_is_read_in_the_type_of_its_default(name, text, value):
    assert RECOMMEND.read_param(name, text) == value


# -- outputs


def test_an_output_is_declared_beside_its_job():
    grain = Output("grain", key="mill", item="sack", columns={"mill": "id", "sack": "id"})

    @job(outputs=[grain])
    def grind(ctx):
        pass

    assert grind.clockmill_job.outputs == (grain,)
