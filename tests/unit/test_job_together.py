"""Policies of jobs that run with others: what is read, what is refused, what follows from them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from clockmill.config import merge
from clockmill.errors import ConfigError
from clockmill.executors import Exit
from clockmill.job_spec import JobSpec, override
from clockmill.registry import discover
from clockmill.runner import Watch, backoff, ending_of
from clockmill.sizes import format_size, parse_size
from db.run import After, Claim

NOON = 1_772_971_200_000_000
MILL = JobSpec("mill", params={"place": "oslo", "k": 3})
CLAIM = Claim(7, "mill", None, "m:1", "manual", attempt=1, lost=0, fence=1, owner="me", params={})


@pytest.fixture
def jobs(tmp_path):
    """The jobs of a configuration in which every table is a command."""

    def find(settings, pools=None):
        tables = {name: {"command": ["true"], **table} for name, table in settings.items()}
        written = {"jobs": tables, **({"pools": pools} if pools else {})}
        return discover(merge(tmp_path, tmp_path / "clockmill.toml", written, {})).jobs

    return find


# -- after


@pytest.mark.parametrize(
    "written, read",
    [
        ("counters", After(("counters",))),
        (["counters", "news"], After(("counters", "news"))),
        ({"any": ["counters", "news"]}, After(("counters", "news"), "any")),
        ({"all": "counters", "on": "failure"}, After(("counters",), "all", "failure")),
    ],
)
def test_after_is_a_job_or_several_or_a_table(written, read):
    assert override(MILL, {"after": written}).after == read


@pytest.mark.parametrize("written", [[], {"on": "success"}, {"some": ["a"]}, {"all": ["a"], "any": ["b"]}, [3]])
def test_another_after_is_refused(written):
    with pytest.raises(ConfigError, match="expected names of jobs"):
        override(MILL, {"after": written})


def test_an_unknown_outcome_is_refused():
    with pytest.raises(ConfigError, match='"failure" or "any"'):
        override(MILL, {"after": {"all": ["a"], "on": "sucess"}})


def test_what_a_job_comes_after_is_kept_with_its_specification():
    spec = override(MILL, {"after": {"any": ["a", "b"], "on": "any"}})
    assert JobSpec.from_identity("mill", spec.identity()).after == spec.after


def test_an_unknown_upstream_job_is_refused_with_the_nearest_one(jobs):
    with pytest.raises(ConfigError, match='job b: after: no job "aa"'):
        jobs({"a": {}, "b": {"after": "aa"}})


def test_jobs_that_come_after_each_other_are_refused(jobs):
    with pytest.raises(ConfigError, match=r"come after themselves: (a after b after a|b after a after b)"):
        jobs({"a": {"after": "b"}, "b": {"after": "a"}})


def test_what_triggers_an_upstream_without_a_schedule_is_known(jobs):
    found = jobs({"a": {"schedule": "@daily"}, "b": {"after": "a"}, "c": {"after": "b"}, "d": {"after": ["c", "a"]}})
    assert found["b"].after.roots == ()
    assert found["c"].after.roots == ("a",)
    assert found["d"].after.roots == ("a", "b")


# -- pools and orders


def test_a_pool_that_is_not_configured_is_refused(jobs):
    assert jobs({"a": {"pool": "heavy"}}, {"heavy": 2})["a"].pool == "heavy"
    with pytest.raises(ConfigError, match=r'job a: no pool "heavi".*heavy'):
        jobs({"a": {"pool": "heavi"}}, {"heavy": 2})


def test_the_places_of_a_pool_are_a_whole_number(tmp_path):
    with pytest.raises(ConfigError, match=r"\[pools\] heavy = 'two': expected a whole number"):
        merge(tmp_path, None, {"pools": {"heavy": "two"}}, {})


def test_a_variable_sets_a_pool(tmp_path):
    assert merge(tmp_path, None, {}, {"CLOCKMILL_POOLS__HEAVY": "3"}).table("pools") == {"heavy": 3}


def test_runs_are_ordered_by_the_value_of_a_parameter():
    spec = replace(MILL, order_by="place")
    assert spec.order_key({}) == "mill/oslo"
    assert spec.order_key({"place": "bergen"}) == "mill/bergen"


def test_a_long_value_is_a_short_key():
    assert len(replace(MILL, order_by="place").order_key({"place": "x" * 1000})) < 100


def test_runs_are_ordered_by_a_word_that_jobs_share():
    assert replace(MILL, order_by="flour").order_key({"place": "bergen"}) == "flour"
    assert MILL.order_key({}) is None


def test_order_and_another_overlap_than_waiting_are_refused():
    with pytest.raises(ConfigError, match='overlap = "cancel_previous" cannot be had with order_by'):
        replace(MILL, order_by="place", overlap="cancel_previous")


# -- limits


@pytest.mark.parametrize("text, size", [("512M", 2**29), ("1.5G", 3 * 2**29), ("2GiB", 2**31), ("64k", 2**16), (7, 7)])
def test_an_amount_of_memory_is_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["512", "M", "-1M", "0M", 0, True, "1 M B", "12X"])
def test_another_amount_is_refused(text):
    with pytest.raises(ConfigError, match="is not an amount of memory"):
        parse_size(text)


@pytest.mark.parametrize("size, text", [(2**29, "512M"), (3 * 2**29, "1.5G"), (1000, "0.9766K")])
def test_an_amount_is_written_for_people(size, text):
    assert format_size(size) == text


def test_limits_need_a_process():
    with pytest.raises(ConfigError, match='need executor = "process"'):
        override(MILL, {"memory": "64M", "executor": "thread"})


@pytest.mark.parametrize("policy", [{"memory": "1M"}, {"open_files": 3}])
def test_a_limit_under_which_nothing_runs_is_refused(policy):
    with pytest.raises(ConfigError, match=r"or more|and up"):
        override(MILL, policy)


# -- retries


def ending(spec, ended, **watch):
    return ending_of(CLAIM, replace(spec, retries=1), ended, Watch(**watch), NOON).state


@pytest.mark.parametrize("code, state", [(75, "retry_wait"), (1, "failed")])
def test_only_the_exit_codes_of_retry_on_are_tried_again(code, state):
    assert ending(override(MILL, {"retry_on": [75, 111]}), Exit("exit", code)) == state


def test_a_signal_is_the_exit_code_that_a_shell_makes_of_it():
    assert ending(override(MILL, {"retry_on": 137}), Exit("exit", signal=9)) == "retry_wait"


def test_an_exception_is_tried_again_by_its_name_or_that_of_its_base():
    spec, failed = override(MILL, {"retry_on": ["OSError"]}), Exit("exit", 1)
    assert ending(spec, failed, reason="x", errors=("ConnectionError", "OSError")) == "retry_wait"
    assert ending(spec, failed, reason="x", errors=("ValueError",)) == "failed"


@pytest.mark.parametrize("retry_on, state", [(["timeout"], "retry_wait"), ([1], "timed_out"), ([], "retry_wait")])
def test_what_overstays_is_tried_again_where_that_is_said(retry_on, state):
    assert ending(override(MILL, {"retry_on": retry_on}), Exit("timeout", signal=15)) == state


@pytest.mark.parametrize("retry_on", [True, 1.5, [None]])
def test_another_retry_on_is_refused(retry_on):
    with pytest.raises(ConfigError, match="expected exit codes"):
        override(MILL, {"retry_on": retry_on})


def test_waits_double_and_are_spread_by_a_fifth():
    spec = replace(MILL, backoff=timedelta(seconds=10))
    waits = [backoff(replace(CLAIM, run_id=run), spec, 3).total_seconds() for run in range(200)]
    assert 32 <= min(waits) < 33
    assert 47 < max(waits) <= 48


def test_the_wait_of_one_attempt_is_always_the_same():
    assert backoff(CLAIM, MILL, 1) == backoff(CLAIM, MILL, 1)
    assert backoff(CLAIM, MILL, 1) != backoff(replace(CLAIM, attempt=2), MILL, 1)


# -- what an attempt came to


def test_an_attempt_that_held_too_much_says_what_it_might():
    spec = replace(MILL, memory=2**29)
    ended = ending_of(CLAIM, spec, Exit("memory", signal=9), Watch(), NOON)
    assert (ended.state, ended.reason) == ("failed", "held more than memory = 512M")


def test_a_function_with_nothing_to_commit_has_succeeded_when_it_reported():
    ended = ending_of(CLAIM, MILL, Exit("exit", 0, peak_rss_mb=9.0), Watch(report={"rows_in": 3}), NOON)
    assert (ended.state, ended.report) == ("succeeded", {"peak_rss_mb": 9.0, "rows_in": 3})


def test_a_function_that_left_without_a_word_has_failed():
    assert ending_of(CLAIM, MILL, Exit("exit", 0), Watch(), NOON).state == "failed"
