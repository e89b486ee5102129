"""Outputs: whole versions, or nothing, on each of the three databases."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from db import outputs
from db.columns import as_column
from db.engine import read, write
from db.errors import Fenced, OutputError
from db.output_spec import OutputSpec, resolve
from db.outputs import Build

GRAIN = OutputSpec("grain", key="mill", item="sack", score="weight",
                   columns={"mill": "id", "sack": "int", "weight": "float", "at": "time"}, stamp=("at",))  # fmt: skip
AT = "2026-03-08T12:00:00Z"


def columns(rows, spec=GRAIN):
    listed = list(zip(*rows, strict=True)) if rows else [()] * len(spec.columns)
    return {name: as_column(list(v), kind) for (name, kind), v in zip(spec.columns.items(), listed, strict=True)}


def build(engine, rows, spec=GRAIN, only=None):
    """A version begun and written, by nobody published yet."""
    given = columns(rows, spec)
    begun = Build(engine, resolve(spec, given), run_id=1, fence=1)
    begun.begin()
    begun.write(given, only)
    return begun


def publish(engine, begun, at=AT):
    with write(engine) as connection:
        return begun.publish(connection, at, "digest")


def published(engine, rows, spec=GRAIN, only=None, at=AT):
    return publish(engine, build(engine, rows, spec, only), at)


def current(engine, name="grain"):
    with read(engine) as connection:
        return sorted(tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}_current")))


def stored(engine, name="grain"):
    with read(engine) as connection:
        return connection.execute(text(f"SELECT count(*) FROM {name}")).scalar()


ONE, TWO, THREE = (1, 1, 0.5, "a"), (1, 2, 1.5, "a"), (2, 1, 2.5, "a")


# -- versions


def test_a_version_is_invisible_until_its_pointer_moves(database):
    begun = build(database, [ONE, TWO])
    assert current(database) == []
    published = publish(database, begun)
    assert (published.version, published.rows, published.changed) == (1, 2, 2)
    assert current(database) == [ONE, TWO]


def test_readers_see_the_old_version_whole_while_the_next_is_written(database):
    published(database, [ONE, TWO])
    begun = build(database, [(1, 1, 9.0, "b"), THREE])
    assert current(database) == [ONE, TWO]
    publish(database, begun)
    assert current(database) == [(1, 1, 9.0, "b"), THREE]


def test_a_pointer_that_is_rolled_back_shows_nothing(database):
    published(database, [ONE])
    begun = build(database, [TWO])
    with pytest.raises(ValueError, match="no"), write(database) as connection:
        begun.publish(connection, AT, "digest")
        raise ValueError("no")
    assert current(database) == [ONE]
    publish(database, begun)
    assert current(database) == [TWO]


def test_only_changed_rows_are_written(database):
    published(database, [ONE, TWO, THREE])
    came = published(database, [ONE, (1, 2, 1.75, "a"), THREE])
    assert (came.rows, came.changed) == (3, 2)
    assert stored(database) == 4


def test_a_stamp_alone_is_no_change(database):
    published(database, [ONE])
    assert published(database, [(1, 1, 0.5, "b")]).changed == 0
    assert current(database) == [ONE]


def test_no_number_equals_no_number(database):
    published(database, [(1, 1, None, "a")])
    assert published(database, [(1, 1, None, "a")]).changed == 0
    assert current(database) == [(1, 1, None, "a")]


def test_an_older_version_stays_readable(database):
    published(database, [ONE, TWO])
    published(database, [THREE])
    spec, _ = outputs.find(database, "grain")
    assert outputs.read_rows(database, spec, 1)["sack"].tolist() == [1, 2]
    assert outputs.read_rows(database, spec, 2)["mill"].tolist() == [2]


def test_an_empty_version_is_a_version(database):
    published(database, [ONE])
    came = published(database, [])
    assert (came.version, came.rows) == (2, 0)
    assert current(database) == []


# -- who may write


def test_what_an_abandoned_version_wrote_is_undone(database):
    published(database, [ONE, TWO])
    build(database, [(1, 1, 9.0, "x"), THREE])
    came = published(database, [ONE, THREE])
    assert (came.version, came.rows, came.changed) == (3, 2, 2)
    assert current(database) == [ONE, THREE]
    assert stored(database) == 3


def test_an_abandoned_first_version_is_undone(database):
    build(database, [ONE])
    assert published(database, [TWO]).version == 2
    assert current(database) == [TWO]


def test_an_old_writer_is_fenced_off(database):
    old = build(database, [ONE], only=[1])
    new = build(database, [TWO])
    with pytest.raises(Fenced, match="version 1 gave way to a newer writer"):
        old.write(columns([THREE]), only=[2])
    with pytest.raises(Fenced):
        publish(database, old)
    publish(database, new)
    with pytest.raises(Fenced):
        publish(database, old)
    assert current(database) == [TWO]


# -- some keys


def test_only_the_given_keys_are_replaced(database):
    published(database, [ONE, TWO, THREE])
    came = published(database, [(1, 7, 7.0, "b")], only=[1])
    assert (came.rows, came.changed) == (2, 3)
    assert current(database) == [(1, 7, 7.0, "b"), THREE]


def test_a_given_key_without_rows_goes(database):
    published(database, [ONE, THREE])
    published(database, [], only=[1])
    assert current(database) == [THREE]


@pytest.mark.parametrize(("first", "second"), [([1], [1, 2]), (None, [1]), ([1], None)])
def test_the_same_rows_are_not_written_twice_in_one_version(database, first, second):
    begun = build(database, [ONE], only=first)
    with pytest.raises(OutputError, match="the same rows are published twice in one run"):
        begun.write(columns([ONE]), second)


def test_keys_may_be_written_one_after_the_other(database):
    begun = build(database, [ONE], only=[1])
    begun.write(columns([THREE]), only=[2])
    publish(database, begun)
    assert current(database) == [ONE, THREE]


def test_a_row_of_another_key_is_refused(database):
    with pytest.raises(OutputError, match="key 2 is not among `only`"):
        build(database, [THREE], only=[1])


def test_a_partial_version_is_no_target_to_go_back_to(database):
    published(database, [ONE, TWO])
    published(database, [THREE])
    published(database, [], only=[2])
    assert outputs.oldest_kept(database, "grain", 3, None) == 2


# -- keys and types


NAMED = OutputSpec("named", key="who", item="whom", columns={"who": "id", "whom": "id"})


def test_text_ids_are_told_apart_by_every_byte(database):
    rows = [(who, "x") for who in ("a", "A", "a ", "á", "a\u0301", "ａ", "ß", "ss", "")]
    published(database, rows, NAMED)
    assert current(database, "named") == sorted(rows)
    spec, row = outputs.find(database, "named")
    assert outputs.read_rows(database, spec, row.version, keys=["a "])["who"].tolist() == ["a "]
    assert outputs.all_keys(database, spec, 1) == sorted(who for who, _ in rows)
    published(database, [("a", "y")], NAMED, only=["a"])
    assert ("A", "x") in current(database, "named")
    assert ("a ", "x") in current(database, "named")


def test_text_ids_sort_by_code_point_in_sql_as_in_memory(database):
    rows = [(who, "x") for who in ("Z", "a", "_", "é", "\U0001f600", "\uffee", "z", "10", "9")]
    published(database, rows, NAMED)
    assert published(database, rows[::-1], NAMED).changed == 0


def test_an_output_that_was_empty_at_first_takes_the_type_of_its_first_ids(database):
    published(database, [], NAMED)
    published(database, [("a", "b")], NAMED)
    assert current(database, "named") == [("a", "b")]


def test_an_output_with_text_ids_may_become_empty_and_come_back(database):
    published(database, [("a", "b")], NAMED)
    assert published(database, [], NAMED).rows == 0
    assert published(database, [("c", "d")], NAMED).rows == 1
    assert current(database, "named") == [("c", "d")]


def test_a_text_key_without_rows_goes(database):
    published(database, [("a", "b"), ("c", "d")], NAMED)
    published(database, [], NAMED, only=["a"])
    assert current(database, "named") == [("c", "d")]


def test_ids_of_another_type_are_refused_with_what_to_do(database):
    published(database, [ONE])
    with pytest.raises(OutputError, match=r"mill was int, is text.*clockmill outputs reset grain"):
        build(database, [("a", 1, 0.5, "a")])


def test_an_output_that_was_reset_begins_again(database):
    published(database, [ONE])
    outputs.reset(database, "grain")
    assert "grain" not in outputs.known(database)
    assert published(database, [("a", 1, 0.5, "a")]).version == 1


def test_two_rows_of_one_key_are_refused(database):
    with pytest.raises(ValueError, match="two rows for mill = 1, sack = 1"):
        build(database, [ONE, (1, 1, 9.0, "b")])


def test_a_key_that_no_index_takes_is_refused(database):
    with pytest.raises(OutputError, match="a who has over 255 characters"):
        build(database, [("x" * 256, "b")], NAMED)


def test_a_table_of_the_applications_own_is_left_alone(database):
    with write(database) as connection:
        connection.exec_driver_sql("CREATE TABLE grain (x BIGINT)")
    with pytest.raises(OutputError, match='already has "grain", which clockmill did not make'):
        build(database, [ONE])


def test_an_unknown_output_is_met_with_the_nearest_one(database):
    published(database, [ONE])
    with pytest.raises(OutputError, match=r'output "grains" was never published; did you mean "grain"\?'):
        outputs.find(database, "grains")


# -- many rows


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunks_of_any_size_write_the_same(database, monkeypatch, chunk):
    monkeypatch.setattr(outputs, "CHUNK_ROWS", chunk)
    monkeypatch.setattr("db.pace.FIRST_BATCH", 4)
    first = [(mill, sack, 1.0, "a") for mill in (1, 2, 5, 9) for sack in (1, 2, 3)]
    second = [(mill, sack, 1.0 + (mill == 5), "b") for mill in (0, 2, 5, 11) for sack in (2, 3, 4)]
    published(database, first)
    came = published(database, second)
    kept = [row for row in first if row[:3] in {r[:3] for r in second}]
    expected = kept + [row for row in second if row[:3] not in {r[:3] for r in kept}]
    assert current(database) == sorted(expected)
    assert came.rows == len(second)


# -- history


def test_pruning_leaves_what_the_kept_versions_show(database):
    for weight in (1.0, 2.0, 3.0, 4.0):
        published(database, [(1, 1, weight, "a"), THREE])
    spec, row = outputs.find(database, "grain")
    assert outputs.oldest_kept(database, "grain", row.version, None) == 3
    assert outputs.prune(database, spec, 3) == 2
    assert outputs.read_rows(database, spec, 3)["weight"].tolist() == [3.0, 2.5]
    assert current(database) == [(1, 1, 4.0, "a"), THREE]


def test_history_is_kept_since_a_day(database):
    for day in (1, 2, 3, 4):
        published(database, [(1, 1, float(day), "a")], at=f"2026-03-0{day}T00:00:00Z")
    assert outputs.oldest_kept(database, "grain", 4, "2026-03-02T00:00:00Z") == 2


def test_what_changed_between_versions_is_known(database):
    published(database, [ONE, TWO, THREE])
    published(database, [ONE, TWO, (3, 1, 1.0, "a")])
    spec, _ = outputs.find(database, "grain")
    assert sorted(outputs.changed_keys(database, spec, 1, 2)) == [2, 3]
    assert outputs.all_keys(database, spec, 2) == [1, 3]
    assert np.asarray(outputs.read_rows(database, spec, 2, low=2)["mill"]).tolist() == [3]


def test_a_view_is_made_again_for_columns_in_another_order(database):
    published(database, [ONE])
    spec = replace(GRAIN, history_days=7)
    published(database, [ONE], spec)
    assert outputs.find(database, "grain")[0].history_days == 7


@pytest.mark.parametrize("first_batch", [1, 3, 1000])
def test_history_goes_in_parts_of_any_size(database, monkeypatch, first_batch):
    monkeypatch.setattr("db.pace.FIRST_BATCH", first_batch)
    rows = [(mill, sack, 1.0, "a") for mill in (1, 2, 7) for sack in range(1, 6)]
    published(database, rows)
    published(database, [(mill, sack, 1.0 + (sack % 2), "a") for mill, sack, _, _ in rows])
    published(database, [row for row in rows if row[0] != 2])
    spec, _ = outputs.find(database, "grain")
    assert outputs.prune(database, spec, 3) == 9 + 6 + 5
    assert sorted(current(database)) == [row for row in rows if row[0] != 2]
    assert outputs.prune(database, spec, 3) == 0
