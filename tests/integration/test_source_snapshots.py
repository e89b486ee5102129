"""What was read before stands for a source while nothing has changed: on SQLite, PostgreSQL and MariaDB."""

import numpy as np
import pytest

from db import sources
from db.engine import write
from db.load import load_columns
from db.sources import SourceSpec, read

FRIENDSHIPS = SourceSpec("friendships")
MAPPED = SourceSpec("friendships", table="friendships", where="user_id > 0")
PAIRS = [(1, 2), (1, 3), (2, 3), (3, 4)]


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr(sources, "FEWEST_KEPT", 1)


@pytest.fixture
def loaded(database):
    load_pairs(database, PAIRS)
    return database


def load_pairs(engine, pairs, replace=False):
    user, friend = zip(*pairs, strict=True)
    load_columns(engine, "friendships", {"user_id": list(user), "friend_id": list(friend)}, replace=replace)


def pairs(engine, folder, spec=FRIENDSHIPS):
    """What is read, and whether any row came from the database."""
    told = []
    found = read(engine, spec, ["user_id", "friend_id"], progress=told.append, folder=folder)
    return sorted(zip(found["user_id"].tolist(), found["friend_id"].tolist(), strict=True)), bool(told)


def change(engine, statement):
    with write(engine) as connection:
        connection.exec_driver_sql(statement)


def test_a_second_reader_finds_what_the_first_read(loaded, tmp_path):
    assert pairs(loaded, tmp_path) == (PAIRS, True)
    assert pairs(loaded, tmp_path) == (PAIRS, False)


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("INSERT INTO friendships (user_id, friend_id) VALUES (4, 5)", [*PAIRS, (4, 5)]),
        ("DELETE FROM friendships WHERE user_id = 3", PAIRS[:3]),
        ("UPDATE friendships SET friend_id = 9 WHERE user_id = 3", [*PAIRS[:3], (3, 9)]),
        ("UPDATE friendships SET friend_id = 7 - friend_id WHERE user_id IN (2, 3)", [*PAIRS[:2], (2, 4), (3, 3)]),
        ("DELETE FROM friendships", []),
    ],
)
def test_every_change_is_seen_deletions_and_corrections_included(loaded, tmp_path, statement, left):
    pairs(loaded, tmp_path)
    change(loaded, statement)
    assert pairs(loaded, tmp_path) == (left, bool(left))


@pytest.mark.parametrize("replace", [True, False])
def test_every_load_is_seen(loaded, tmp_path, replace):
    pairs(loaded, tmp_path)
    load_pairs(loaded, [(3, 4), (8, 9)], replace=replace)
    assert pairs(loaded, tmp_path) == (sorted({(8, 9), *([(3, 4)] if replace else PAIRS)}), True)
    assert pairs(loaded, tmp_path)[1] is False


def test_a_row_that_gives_way_to_another_is_seen(loaded, tmp_path):
    pairs(loaded, tmp_path)
    change(loaded, "DELETE FROM friendships WHERE user_id = 1 AND friend_id = 2")
    change(loaded, "INSERT INTO friendships (user_id, friend_id) VALUES (1, 4)")
    assert pairs(loaded, tmp_path) == ([(1, 3), (1, 4), (2, 3), (3, 4)], True)


def test_a_table_that_was_made_anew_by_hand_is_read(loaded, tmp_path):
    pairs(loaded, tmp_path)
    change(loaded, "CREATE TABLE other AS SELECT * FROM friendships WHERE user_id = 1")
    change(loaded, "DROP TABLE friendships")
    change(loaded, "ALTER TABLE other RENAME TO friendships")
    assert pairs(loaded, tmp_path) == (PAIRS[:2], True)


def test_another_mapping_is_another_source(loaded, tmp_path):
    pairs(loaded, tmp_path)
    assert pairs(loaded, tmp_path, SourceSpec("friendships", table="friendships", where="user_id = 1"))[0] == PAIRS[:2]
    swapped = SourceSpec("friendships", table="friendships", columns={"user_id": "friend_id", "friend_id": "user_id"})
    assert pairs(loaded, tmp_path, swapped)[0] == sorted((b, a) for a, b in PAIRS)


def test_a_table_of_the_application_is_kept_where_the_server_can_tell_of_it(loaded, tmp_path):
    pairs(loaded, tmp_path, MAPPED)
    assert pairs(loaded, tmp_path, MAPPED)[1] is (loaded.dialect.name == "sqlite")
    change(loaded, "UPDATE friendships SET friend_id = 9 WHERE user_id = 3")
    assert pairs(loaded, tmp_path, MAPPED) == ([*PAIRS[:3], (3, 9)], True)


def test_a_damaged_file_and_one_that_is_gone_are_made_anew(loaded, tmp_path):
    folder = tmp_path / "snapshots"
    pairs(loaded, folder)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"x" * 200)
    file.write_bytes(file.read_bytes().replace(b"CMSNAP 2", b"CMSNAP 3"))
    assert pairs(loaded, folder) == (PAIRS, True)
    assert pairs(loaded, folder) == (PAIRS, False)
    file.unlink()
    assert pairs(loaded, folder) == (PAIRS, True)


def test_a_folder_that_cannot_be_written_is_no_hindrance(loaded, tmp_path):
    (tmp_path / "file").write_text("")
    assert pairs(loaded, tmp_path / "file") == (PAIRS, True)
    assert pairs(loaded, tmp_path / "file") == (PAIRS, True)


def test_text_ids_come_back_as_they_were_read(database, tmp_path):
    rows = {"user_id": ["é", "a", "é"], "product_id": [7, 8, 9], "value": [0.5, 1.0, 2.0]}
    load_columns(database, "ratings", rows)
    first, second = (
        read(database, SourceSpec("ratings"), ["user_id", "product_id", "value"], folder=tmp_path) for _ in range(2)
    )
    for name in first:
        assert (first[name].dtype, first[name].tolist()) == (second[name].dtype, second[name].tolist())
    ids, codes = second.coded["user_id"]
    assert ids[codes].tolist() == second["user_id"].tolist()
    assert np.array_equal(first["value"], second["value"])
