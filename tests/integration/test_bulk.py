"""Many rows into a table and changed by key: the same facts on SQLite, PostgreSQL and MariaDB."""

import numpy as np
import pytest
from sqlalchemy import BigInteger, Column, Double, MetaData, Table, Text, inspect
from sqlalchemy.exc import IntegrityError

from db import bulk as bulks
from db.bulk import Bulk
from db.bytewise import Bytewise
from db.engine import read, write

SACKS = Table(
    "sacks",
    MetaData(),
    Column("mill", Bytewise(20), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("weight", Double),
    Column("note", Text),
    Column("until", BigInteger),
)
HARD = ["it's", 'a "\\" and 100 %', "line\nbreak\ttab", "漢\x1a", "", None]


def texts(values):
    return np.array([*values, None], object)[:-1]


@pytest.fixture
def sacks(database):
    with write(database) as connection:
        SACKS.create(connection)
    return database


def put(engine, mill, number, weight, note):
    rows = {"mill": texts(mill), "number": np.array(number), "weight": np.array(weight, float), "note": texts(note)}
    with write(engine) as connection:
        Bulk(engine, SACKS, {"until": 9}).insert(connection, rows)


def held(engine):
    with read(engine) as connection:
        return [tuple(row) for row in connection.execute(SACKS.select().order_by(SACKS.c.mill, SACKS.c.number))]


def test_numbers_texts_and_gaps_are_kept(sacks):
    weights = [0.1, np.nan, -0.0, 1e300, 5e-324, 2.0]
    put(sacks, ["a"] * 6, range(6), weights, HARD)
    kept = [None if weight != weight else weight for weight in weights]
    assert held(sacks) == [("a", n, kept[n], HARD[n], 9) for n in range(6)]


def test_the_largest_and_smallest_integers_are_kept(sacks):
    put(sacks, ["a", "a"], [-(2**63), 2**63 - 1], [1, 2], ["x", "y"])
    assert [row[1] for row in held(sacks)] == [-(2**63), 2**63 - 1]


def test_more_rows_than_one_statement_or_part_holds_arrive(sacks, monkeypatch):
    monkeypatch.setattr(bulks, "STATEMENT_CHARACTERS", 100)
    monkeypatch.setattr(bulks, "ENCODED", 7)
    put(sacks, ["a"] * 50, range(50), [0.5] * 50, ["x"] * 50)
    assert [row[1] for row in held(sacks)] == list(range(50))


def test_named_rows_change_where_the_column_is_what_it_was(sacks):
    put(sacks, ["a", "a", "b", "b "], [1, 2, 1, 1], [1, 1, 1, 1], [None] * 4)
    keys = {"mill": texts(["a", "b"]), "number": np.array([2, 1])}
    for _ in range(2):
        with write(sacks) as connection:
            Bulk(sacks, SACKS, {}).change(connection, keys, "until", 9, 5)
    with write(sacks) as connection:
        Bulk(sacks, SACKS, {}).change(connection, keys, "until", 4, 3)
    assert [(row[0], row[1], row[4]) for row in held(sacks)] == [("a", 1, 9), ("a", 2, 5), ("b", 1, 5), ("b ", 1, 9)]


def test_what_the_database_refuses_is_an_error_as_of_every_statement(sacks):
    put(sacks, ["a"], [1], [1], [None])
    with pytest.raises(IntegrityError):
        put(sacks, ["a"], [1], [1], [None])
    put(sacks, ["a"], [2], [1], [None])
    assert len(held(sacks)) == 2


def test_no_other_table_is_left(sacks):
    put(sacks, ["a"], [1], [1], [None])
    before = inspect(sacks).get_table_names()
    with write(sacks) as connection:
        Bulk(sacks, SACKS, {}).change(connection, {"number": np.array([1])}, "until", 9, 5)
    assert inspect(sacks).get_table_names() == before
