"""--help and completion: there for every command, and quick."""

import re

WALK = """
import click
from clockmill.cli import main

def walk(command, path):
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), [*path, name])

for path, command in walk(main, []):
    print(*path)
    for option in command.params:
        if isinstance(option, click.Option) and not option.help:
            print("UNEXPLAINED", *path, *option.opts)
    try:
        main([*path, "--help"], prog_name="clockmill")
    except SystemExit as e:
        assert e.code == 0, path
"""
HEAVY = ("sqlalchemy", "numpy", "scipy", "numba", "redis", "alembic", "apscheduler")


def imported(clockmill, *words, **environment):
    command = (clockmill.binaries / "python", "-X", "importtime", clockmill.command, *words)
    lines = clockmill.execute(*command, **environment).end().err.splitlines()
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith("import time:")}


def test_every_command_explains_itself(clockmill):
    told = clockmill.execute(clockmill.binaries / "python", "-c", WALK).end().out
    paths = re.findall(r"^((?:[a-z-]+ ?)*)\n+Usage: clockmill", told, flags=re.MULTILINE)
    assert len(paths) > 30
    assert {"", "run", "runs list", "outputs get", "crontab render", "db upgrade"} <= set(paths)


def test_every_option_of_every_command_explains_itself(clockmill):
    told = clockmill.execute(clockmill.binaries / "python", "-c", WALK).end().out
    assert re.findall(r"^UNEXPLAINED .*", told, flags=re.MULTILINE) == []
    assert "--reprocess" in told


def test_help_names_every_command_and_gives_an_example(clockmill):
    told = clockmill("--help").out
    assert "Example: clockmill" in told
    for name in ("demo", "init", "up", "scheduler", "run", "next", "jobs", "runs", "outputs", "crontab", "doctor"):
        assert re.search(rf"^  {name} +[A-Z]", told, flags=re.MULTILINE)


def test_help_imports_nothing_heavy(clockmill):
    found = imported(clockmill, "--help")
    assert "click" in found
    assert found.isdisjoint(HEAVY)


def test_completion_imports_nothing_heavy(clockmill):
    completing = {"_CLOCKMILL_COMPLETE": "bash_complete", "COMP_WORDS": "clockmill ru", "COMP_CWORD": "1"}
    found = imported(clockmill, **completing)
    assert "click" in found
    assert found.isdisjoint(HEAVY)
    assert clockmill(**completing).out.split() == ["plain,run", "plain,runs"]


def test_colours_are_left_out_where_nobody_sees_them(clockmill):
    assert "\x1b[" not in clockmill("doctor").out
