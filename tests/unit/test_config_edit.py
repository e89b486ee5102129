import pytest

from clockmill import config
from clockmill.config_edit import set_params
from clockmill.errors import ConfigError

WRITTEN = """\
# our mill
[scheduler]
workers = 2  # few

[jobs.similarity]
schedule = "1 2 * * *"  # at night
params = { k = 30 }
"""


def edited(tmp_path, text, job, params):
    path = tmp_path / "clockmill.toml"
    if text is not None:
        path.write_text(text)
    set_params(config.load(str(path)) if text is not None else config.merge(tmp_path, None, {}, {}), job, params)
    return path.read_text()


def test_everything_else_stays_as_it_was_written(tmp_path):
    after = edited(tmp_path, WRITTEN, "similarity", {"weighting": "dice"})
    assert after.startswith(WRITTEN[: WRITTEN.index("params")])
    assert config.load(str(tmp_path / "clockmill.toml")).tables["jobs"]["similarity"]["params"] == {
        "k": 30,
        "weighting": "dice",
    }


@pytest.mark.parametrize(
    "text", [None, "", "[redis]\nurl = 'none'\n", "[jobs.similarity.params]\nweighting = 'cosine'\n"]
)
def test_a_table_that_is_not_there_is_made(tmp_path, text):
    edited(tmp_path, text, "similarity", {"weighting": "dice"})
    assert config.load(str(tmp_path / "clockmill.toml")).tables["jobs"]["similarity"]["params"] == {"weighting": "dice"}


def test_a_setting_that_the_job_refuses_is_not_written(tmp_path):
    with pytest.raises(ConfigError, match="allowed: cosine"):
        edited(tmp_path, WRITTEN, "similarity", {"weighting": "magic"})
    assert (tmp_path / "clockmill.toml").read_text() == WRITTEN
