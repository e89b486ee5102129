"""What reviewers forget: imports run one way, dangerous calls stay out, commands explain themselves, copies agree."""

import ast
import re
from pathlib import Path

import click
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy import inspect

from clockmill.cli.group import COMMANDS, main
from clockmill.config_example import render
from db import migrate
from db.engine import open_engine
from db.tables import metadata

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "scheduler.py", *(path for part in ("db", "clockmill", "jobs") for path in (ROOT / part).rglob("*.py"))]
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in FILES}
FACES = ("clockmill.cli", "clockmill.dashboard")
BUILT_IN = sorted(path.stem for path in (ROOT / "jobs").glob("*.py") if path.stem != "__init__")


def imported(tree):
    """Every module that is named by an import, wherever it stands; of `from a import b` both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports give a module a second path"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name):
    """The arrows: db <- clockmill <- jobs <- scheduler.py <- the faces."""
    if any(name == face or name.startswith(f"{face}.") for face in FACES):
        return 4
    return {"db": 0, "clockmill": 1, "jobs": 2, "scheduler": 3}.get(name.partition(".")[0], -1)


def module(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("path", sorted(TREES))
def test_imports_run_one_way(path):
    own = layer(module(path))
    assert [name for name in imported(TREES[path]) if layer(name) > own] == []


@pytest.mark.parametrize("path", sorted(TREES))
def test_nothing_imports_a_face(path):
    if layer(module(path)) < 4:
        assert [name for name in imported(TREES[path]) if layer(name) == 4] == []


def test_the_library_imports_no_built_in_job():
    named = {name for path, tree in TREES.items() if path.startswith("clockmill/") for name in imported(tree)}
    assert not named & {f"jobs.{name}" for name in BUILT_IN}
    assert "jobs" not in named
    assert BUILT_IN == ["counters", "friendship", "news", "rating", "recommendations", "similarity", "weather"]


@pytest.mark.parametrize("path", sorted(TREES))
def test_no_dangerous_call(path):
    assert not {"pickle", "cPickle", "dill", "marshal", "shelve"} & {
        name.split(".")[0] for name in imported(TREES[path])
    }
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            assert called not in ("eval", "exec", "os.system", "os.popen", "subprocess.getoutput"), node.lineno
            shells = [word.value for word in node.keywords if word.arg == "shell" and called.startswith("subprocess")]
            assert not shells, node.lineno


# -- commands


def commands():
    """(words, command) of every command and sub-command."""
    waiting = [(("clockmill",), main)]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting += [((*words, name), command.get_command(context, name)) for name in command.list_commands(context)]


EVERY = {" ".join(words): command for words, command in commands()}


@pytest.mark.parametrize("words", sorted(EVERY))
def test_every_command_has_help(words):
    assert len((EVERY[words].help or "").split()) >= 3


@pytest.mark.parametrize("words", sorted(words for words, command in EVERY.items() if not hasattr(command, "commands")))
def test_every_command_shows_an_example_of_itself(words):
    example = EVERY[words].epilog or ""
    assert example.startswith("Example: ")
    assert words.partition(" ")[2] in example


def test_every_command_is_listed_with_a_sentence():
    context = click.Context(main)
    for name, (_, sentence) in COMMANDS.items():
        assert sentence.endswith(".")
        assert main.get_command(context, name).name == name


# -- copies that must agree


def test_the_shipped_crontab_is_what_would_be_rendered(monkeypatch, tmp_path):
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("CLOCKMILL_HOME", str(tmp_path))
    answer = CliRunner().invoke(main, ["crontab", "render", "--example"])
    assert answer.exit_code == 0
    assert answer.output == (ROOT / "crontab.example").read_text()


def test_the_shipped_configuration_is_what_would_be_printed():
    assert (ROOT / "clockmill.example.toml").read_text() == render()


def test_the_newest_migration_is_the_one_that_is_asked_for():
    names = sorted(path.stem for path in (ROOT / "db" / "migrations" / "versions").glob("[0-9]*.py"))
    assert names[-1].partition("_")[0] == migrate.HEAD
    revisions = [
        re.search(r'^revision = "(\w+)"', (ROOT / f"db/migrations/versions/{n}.py").read_text(), re.M) for n in names
    ]
    assert [match and match[1] for match in revisions] == [name.partition("_")[0] for name in names]


def test_the_migrations_make_the_tables_of_the_code(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    assert migrate.upgrade(engine)
    assert not migrate.upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert set(metadata.tables) | {"alembic_version"} == set(inspect(connection).get_table_names())
    engine.dispose()
