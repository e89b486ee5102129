"""The configuration: what is written, what overrides it, and what is refused with which words."""

from pathlib import Path

import pytest

from clockmill.config import absolute_sqlite, load, merge
from clockmill.config_example import render
from clockmill.errors import ConfigError

FILE = Path("/etc/mill/clockmill.toml")


def merged(written=None, **variables):
    return merge(Path("/srv/mill"), FILE, written or {}, {f"CLOCKMILL_{key}": text for key, text in variables.items()})


def refused(written=None, **variables):
    with pytest.raises(ConfigError) as caught:
        merged(written, **variables)
    return str(caught.value)


# -- where values come from


def test_without_a_file_everything_has_its_default():
    config = merged()
    assert config.table("scheduler")["workers"] == 4
    assert config.where("scheduler.workers") == "default"


def test_the_file_overrides_a_default_and_is_its_origin():
    config = merged({"scheduler": {"workers": 2}})
    assert (config.table("scheduler")["workers"], config.where("scheduler.workers")) == (2, str(FILE))


def test_a_variable_overrides_the_file_and_is_its_origin():
    config = merged({"scheduler": {"workers": 2}}, SCHEDULER__WORKERS="8")
    assert config.table("scheduler")["workers"] == 8
    assert config.where("scheduler.workers") == "CLOCKMILL_SCHEDULER__WORKERS"


def test_a_variable_reaches_into_a_table_of_tables():
    config = merged({"jobs": {"export": {"timeout": "5m"}}}, JOBS__EXPORT__TIMEOUT="1h", JOBS__EXPORT__RETRIES="3")
    assert config.table("jobs")["export"] == {"timeout": "1h", "retries": 3}
    assert config.where("jobs.export.retries") == "CLOCKMILL_JOBS__EXPORT__RETRIES"


def test_variables_without_a_double_underscore_are_no_settings():
    assert merged(HOME="/elsewhere", RUN_ID="7").tables == merged().tables


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("JOBS__A__ENABLED", "false", "enabled", False),
        ("JOBS__A__SCHEDULE", "*/5 * * * *", "schedule", "*/5 * * * *"),
        ("JOBS__A__SCHEDULE", '["@hourly", "@daily"]', "schedule", ["@hourly", "@daily"]),
        ("JOBS__A__PARAMS", "{ k = 20 }", "params", {"k": 20}),
    ],
)
def test_a_variables_text_is_read_in_the_type_of_its_key(variable, text, key, value):
    assert merged(**{variable: text}).table("jobs")["a"][key] == value


def test_every_value_is_listed_with_its_origin():
    flat = {key: (value, origin) for key, value, origin in merged({"jobs": {"a": {"retries": 1}}}).flat()}
    assert flat["jobs.a.retries"] == (1, str(FILE))
    assert flat["redis.url"] == ("embedded", "default")


# -- what is refused


def test_an_unknown_table_is_met_with_the_nearest_one():
    assert 'unknown table [shceduler]; did you mean "scheduler"?' in refused({"shceduler": {"workers": 2}})


def test_an_unknown_key_is_met_with_the_nearest_one():
    sentence = refused({"scheduler": {"worker": 2}})
    assert sentence.startswith(f'{FILE}: unknown key [scheduler] worker; did you mean "workers"?; known: timezone')


def test_an_unknown_key_of_a_job_names_the_job():
    assert 'unknown key [jobs.a] retrys; did you mean "retries"?' in refused({"jobs": {"a": {"retrys": 2}}})


def test_an_unknown_variable_is_named():
    assert refused(REDDIS__URL="none").startswith("CLOCKMILL_REDDIS__URL: unknown table [reddis]")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"scheduler": {"workers": "4"}}, "[scheduler] workers = '4': expected a whole number"),
        ({"scheduler": {"workers": True}}, "[scheduler] workers = True: expected a whole number"),
        ({"scheduler": {"job_folders": "jobs"}}, "[scheduler] job_folders = 'jobs': expected a list"),
        ({"jobs": {"a": {"enabled": 1}}}, "[jobs.a] enabled = 1: expected true or false"),
        ({"jobs": {"a": {"schedule": 5}}}, "[jobs.a] schedule = 5: expected a text or a list"),
        ({"jobs": {"a": {"timeout": "soon"}}}, '[jobs.a] timeout: "soon" is not a length of time'),
        ({"jobs": {"a": 3}}, "[jobs] a = 3: expected a table"),
        ({"jobs": 3}, "[jobs] must be a table of tables, as in [jobs.NAME]"),
        ({"redis": "none"}, "unknown key [redis] redis"),
    ],
)
def test_a_wrong_type_is_refused_with_what_was_seen_and_what_is_expected(written, sentence):
    assert refused(written).startswith(f"{FILE}: {sentence}")


def test_a_variable_of_the_wrong_type_is_refused_by_its_name():
    assert refused(SCHEDULER__WORKERS="many") == "CLOCKMILL_SCHEDULER__WORKERS = 'many': expected a whole number"


def test_an_error_of_syntax_names_the_file(tmp_path):
    path = tmp_path / "clockmill.toml"
    path.write_text("[scheduler\n")
    with pytest.raises(ConfigError, match=f"{path}: not TOML: "):
        load(str(path), {})


def test_a_file_that_is_not_utf_8_is_told_by_its_line(tmp_path):
    (tmp_path / "clockmill.toml").write_bytes(b'[scheduler]\ntimezone = "\xff"\n')
    with pytest.raises(ConfigError, match=r"not TOML: line 2 is not UTF-8$"):
        load(str(tmp_path / "clockmill.toml"), {})


def test_a_mark_before_the_first_letter_and_line_ends_of_windows_are_taken(tmp_path):
    (tmp_path / "clockmill.toml").write_bytes(b"\xef\xbb\xbf[scheduler]\r\nworkers = 3\r\n")
    assert load(str(tmp_path / "clockmill.toml"), {}).table("scheduler")["workers"] == 3


def test_dates_and_times_of_toml_are_their_texts(tmp_path):
    (tmp_path / "clockmill.toml").write_text("[jobs.a]\nstart = 2026-12-20T08:00:00Z\nexclude = [2026-12-24]\n")
    held = load(str(tmp_path / "clockmill.toml"), {}).table("jobs")["a"]
    assert held == {"start": "2026-12-20T08:00:00+00:00", "exclude": ["2026-12-24"]}


def test_a_file_that_was_asked_for_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="--config: there is no file"):
        load(str(tmp_path / "absent.toml"), {})


# -- where things are


def test_the_home_is_that_of_the_variable(tmp_path):
    (tmp_path / "clockmill.toml").write_text("[scheduler]\nworkers = 3\n")
    config = load(None, {"CLOCKMILL_HOME": str(tmp_path)})
    assert (config.home, config.file, config.var) == (tmp_path, tmp_path / "clockmill.toml", tmp_path / "var")
    assert config.table("scheduler")["workers"] == 3


def test_without_a_variable_the_home_is_the_files_folder(tmp_path):
    (tmp_path / "clockmill.toml").touch()
    assert load(str(tmp_path / "clockmill.toml"), {}).home == tmp_path


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("sqlite:///var/clockmill.db", "sqlite:////srv/mill/var/clockmill.db"),
        ("sqlite+pysqlite:///a.db", "sqlite+pysqlite:////srv/mill/a.db"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql+psycopg://localhost/app", "postgresql+psycopg://localhost/app"),
    ],
)
def test_a_relative_sqlite_path_starts_at_the_home(url, absolute):
    assert absolute_sqlite(url, Path("/srv/mill")) == absolute


# -- the example


def test_the_example_sets_nothing(tmp_path):
    (tmp_path / "clockmill.toml").write_text(render())
    assert load(None, {"CLOCKMILL_HOME": str(tmp_path)}).tables == merged().tables


def test_the_example_with_every_comment_removed_is_the_default(tmp_path):
    lines = [line.removeprefix("# ") if " = " in line.partition("#")[0] + line[2:].partition("#")[0] else line
             for line in render().partition("# Keys of [jobs.NAME]")[0].splitlines()]  # fmt: skip
    (tmp_path / "clockmill.toml").write_text("\n".join(line for line in lines if not line.startswith("#")))
    config = load(None, {"CLOCKMILL_HOME": str(tmp_path)})
    assert config.tables == merged().tables
    assert config.where("scheduler.workers") == str(tmp_path / "clockmill.toml")


def test_values_given_to_init_are_set_in_the_file(tmp_path):
    (tmp_path / "clockmill.toml").write_text(render({"redis": {"url": "none"}}))
    assert load(None, {"CLOCKMILL_HOME": str(tmp_path)}).table("redis")["url"] == "none"
