"""Where in its file a setting stands."""

from clockmill.toml_lines import line_of

TEXT = """\
[scheduler]
schedule = 1
[ jobs."a.b" ]  # one
command = ["true"]
"schedule" = "x"

[jobs.b]
command = ["schedule = 1"]
"""


def test_a_key_is_found_in_its_own_table(tmp_path):
    file = tmp_path / "clockmill.toml"
    file.write_text(TEXT)
    assert line_of(file, "jobs.a.b", "schedule") == 5
    assert line_of(file, "jobs.b", "command") == 8


def test_without_the_key_it_is_the_tables_line(tmp_path):
    file = tmp_path / "clockmill.toml"
    file.write_text(TEXT)
    assert line_of(file, "jobs.b", "schedule") == 7


def test_what_is_written_otherwise_has_no_line(tmp_path):
    file = tmp_path / "clockmill.toml"
    file.write_text('jobs.a = { command = ["true"] }\n')
    assert line_of(file, "jobs.a", "command") is None
    assert line_of(tmp_path / "absent", "jobs.a", "command") is None
