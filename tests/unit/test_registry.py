"""Finding jobs: in folders, in the configuration, among installed packages, and what is broken among them."""

import pytest

from clockmill.config import merge
from clockmill.errors import ConfigError
from clockmill.registry import discover

MILL = "from clockmill import job\n\n@job(schedule='@hourly', params={'k': 3})\ndef mill(ctx):\n    pass\n"


@pytest.fixture
def found(tmp_path):
    def find(jobs=None, **files):
        folder = tmp_path / "jobs"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        written = {"scheduler": {"job_folders": ["jobs"]}, "jobs": jobs or {}}
        return discover(merge(tmp_path, tmp_path / "clockmill.toml", written, {}))

    return find


def test_built_in_jobs_are_found_like_anybodys(found):
    assert {"counters", "news", "recommendations", "similarity", "weather"} <= set(found().jobs)


def test_a_file_in_a_folder_declares_jobs(found, tmp_path):
    spec = found(mine=MILL).get("mill")
    assert (spec.schedule, spec.origin) == (("@hourly",), str(tmp_path / "jobs" / "mine.py"))


def test_files_that_begin_with_an_underscore_are_left_alone(found):
    assert "mill" not in found(_mine=MILL).jobs


def test_a_job_that_a_file_only_imports_is_not_declared_twice(found, tmp_path):
    other = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom jobs.counters import counters\n"
    assert found(mine=other).get("counters").origin == "jobs.counters"


def test_two_jobs_of_one_name_are_refused_with_both_places(found, tmp_path):
    folder = tmp_path / "jobs"
    with pytest.raises(ConfigError, match=f'job "mill" is declared in {folder}/a.py and {folder}/b.py'):
        found(a=MILL, b=MILL)


def test_a_file_that_cannot_be_imported_breaks_itself_alone(found):
    registry = found(bad="import nothing_of_the_kind", good=MILL)
    assert registry.broken == {"bad": "ModuleNotFoundError: No module named 'nothing_of_the_kind'"}
    assert "mill" in registry.jobs
    with pytest.raises(ConfigError, match='job "bad" is broken: ModuleNotFoundError'):
        registry.get("bad")


def test_a_file_that_declares_what_is_not_allowed_breaks_itself_alone(found):
    registry = found(bad=MILL.replace("@hourly'", "@hourly', timeout='soon'"), good=MILL)
    assert '"soon" is not a length of time' in registry.broken["bad"]
    assert "mill" in registry.jobs


def test_a_file_that_leaves_the_process_breaks_itself_alone(found):
    assert found(bad="raise SystemExit(3)", good=MILL).broken == {"bad": "SystemExit: 3"}


def test_settings_override_a_decorator(found):
    spec = found({"mill": {"schedule": "@daily", "timeout": "5m", "params": {"k": 5}}}, mine=MILL).get("mill")
    assert (spec.schedule, spec.timeout.total_seconds(), spec.params) == (("@daily",), 300, {"k": 5})


def test_an_empty_schedule_takes_the_decorators_away(found):
    assert found({"mill": {"schedule": ""}}, mine=MILL).get("mill").schedule == ()


def test_a_job_that_is_not_enabled_is_not_there(found):
    assert "mill" not in found({"mill": {"enabled": False}}, mine=MILL).jobs


def test_the_schedulers_zone_is_that_of_jobs_without_their_own(tmp_path, found):
    written = {"scheduler": {"timezone": "Europe/Oslo"}, "jobs": {"counters": {"timezone": "UTC"}}}
    registry = discover(merge(tmp_path, None, written, {}))
    assert (registry.get("counters").timezone, registry.get("news").timezone) == ("UTC", "Europe/Oslo")


def test_settings_of_no_job_are_refused_with_the_nearest_one(found):
    with pytest.raises(ConfigError, match=r'\[jobs.mil\]: no such job; did you mean "mill"\?'):
        found({"mil": {"timeout": "5m"}}, mine=MILL)


def test_settings_of_a_broken_job_are_kept_for_its_recovery(found):
    assert "bad" in found({"bad": {"timeout": "5m"}}, bad="import nothing_of_the_kind").broken


def test_settings_of_a_job_in_a_broken_file_stop_no_other(found):
    registry = found({"mill": {"timeout": "5m"}}, bad="import nothing_of_the_kind\n" + MILL)
    assert registry.broken["mill"] == "its code was not found; these could not be loaded: bad"
    assert "counters" in registry.jobs


def test_a_parameter_that_a_job_has_not_is_refused_with_its_place(found, tmp_path):
    with pytest.raises(ConfigError, match=r'clockmill.toml: \[jobs.mill\]: job mill: no parameter "j"'):
        found({"mill": {"params": {"j": 5}}}, mine=MILL)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    written = {"scheduler": {"job_folders": ["absent"]}}
    with pytest.raises(ConfigError, match=rf"\[scheduler\] job_folders: no folder {tmp_path}/absent"):
        discover(merge(tmp_path, None, written, {}))


def test_an_unknown_job_is_met_with_the_nearest_one(found):
    with pytest.raises(ConfigError, match=r'no job "recomendations"; did you mean "recommendations"\?'):
        found().get("recomendations")


# -- commands


def test_a_command_is_a_job_that_is_not_done_twice_unasked(found):
    spec = found({"export": {"command": ["sh", "-c", "exit 0"], "schedule": "@daily"}}).get("export")
    assert (spec.command, spec.executor, spec.on_lost, spec.shell) == (("sh", "-c", "exit 0"), "command", "fail", False)


def test_a_command_may_be_done_again_where_that_is_said(found):
    assert found({"export": {"command": ["true"], "on_lost": "rerun"}}).get("export").on_lost == "rerun"


def test_a_shell_is_used_only_where_that_is_said(found):
    spec = found({"export": {"command": "a | b", "shell": True}}).get("export")
    assert (spec.command, spec.shell) == (("a | b",), True)


@pytest.mark.parametrize("command", ["echo x", [], [1], ["a\0b"], ""])
def test_a_command_is_a_list_of_texts(found, command):
    with pytest.raises(ConfigError, match=r"\[jobs.export\] command = .*: expected a list of texts"):
        found({"export": {"command": command}})


def test_a_shell_command_is_one_text(found):
    with pytest.raises(ConfigError, match="expected one string"):
        found({"export": {"command": ["a"], "shell": True}})


def test_a_command_cannot_take_the_name_of_a_declared_job(tmp_path):
    with pytest.raises(ConfigError, match=r"\[jobs.counters\] command: jobs.counters declares a job of that name"):
        discover(merge(tmp_path, None, {"jobs": {"counters": {"command": ["true"]}}}, {}))
