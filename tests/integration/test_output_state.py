"""What is kept beside a version: digests that spare comparing unchanged lists, on each of the three databases."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import output_state, outputs
from db.columns import as_column
from db.engine import open_engine, write
from db.errors import Fenced
from db.output_spec import OutputSpec, resolve
from db.outputs import DIGESTS, Build

SPEC = OutputSpec("grain", key="mill", order="rank", item="sack",
                  columns={"mill": "id", "rank": "int", "sack": "text"})  # fmt: skip
LISTS = st.dictionaries(st.integers(0, 8), st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=6)


@pytest.fixture(autouse=True)
def digested(monkeypatch):
    """Keeps digests of the smallest outputs too."""
    monkeypatch.setattr(outputs, "DIGESTED_ROWS", 0)


def begun(engine, lists, only=None, spec=SPEC):
    rows = [(mill, rank, sack) for mill in sorted(lists) for rank, sack in enumerate(lists[mill])]
    listed = list(zip(*rows, strict=True)) if rows else [()] * 3
    columns = {name: as_column(list(v), kind) for (name, kind), v in zip(spec.columns.items(), listed, strict=True)}
    build = Build(engine, resolve(spec, columns), None, None)
    build.begin()
    build.write(columns, only)
    return build


def publish(engine, lists, only=None, spec=SPEC):
    build = begun(engine, lists, only, spec)
    build.seal()
    with write(engine) as connection:
        return build.publish(connection, "2026-03-08T12:00:00Z", "digest")


def current(engine):
    spec, row = outputs.find(engine, "grain")
    found = outputs.read_rows(engine, spec, row.version)
    lists = {}
    for mill, sack in zip(found["mill"].tolist(), found["sack"].tolist(), strict=True):
        lists.setdefault(mill, []).append(sack)
    return lists


@pytest.fixture
def rows_read(monkeypatch):
    """The keys of the lists that were read back for comparison; None for everything at once."""
    asked = []
    read_rows = outputs.read_rows

    def noted(engine, spec, version, **how):
        asked.append(how.get("keys"))
        return read_rows(engine, spec, version, **how)

    monkeypatch.setattr(outputs, "read_rows", noted)
    return asked


def test_an_unchanged_output_is_published_without_reading_it_back(database, rows_read):
    publish(database, {1: ["a"], 2: ["b"]})
    rows_read.clear()
    published = publish(database, {1: ["a"], 2: ["b"]})
    assert rows_read == []
    assert (published.version, published.rows, published.changed) == (2, 2, 0)


def test_only_lists_that_changed_are_read_back(database, rows_read, monkeypatch):
    monkeypatch.setattr(outputs, "SELECTIVE", 1)
    publish(database, {1: ["a"], 2: ["b"], 3: ["c"]})
    rows_read.clear()
    publish(database, {1: ["a"], 2: ["b", "c"], 4: ["a"]})
    assert rows_read == [[2, 3, 4]]
    assert current(database) == {1: ["a"], 2: ["b", "c"], 4: ["a"]}


def test_when_much_changed_all_is_read_by_ranges(database, rows_read):
    publish(database, {1: ["a"], 2: ["b"], 3: ["c"]})
    rows_read.clear()
    publish(database, {1: ["b"], 2: ["c"], 3: ["a"]})
    assert rows_read == [None]
    assert current(database) == {1: ["b"], 2: ["c"], 3: ["a"]}


@pytest.mark.parametrize("key", [int, str])
def test_whatever_is_published_readers_see_just_that(database, monkeypatch, key):
    monkeypatch.setattr(outputs, "SELECTIVE", 0.5)
    monkeypatch.setattr(outputs, "KEYS_AT_ONCE", 2)
    steps = st.lists(st.tuples(LISTS, st.none() | st.sets(st.integers(0, 8), min_size=1)), min_size=2, max_size=4)

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps)
    def follow(steps):
        expected = {}
        for lists, only in steps:
            lists = {key(mill): sacks for mill, sacks in lists.items()}
            if only is None:
                expected = lists
                publish(database, lists, None, spec)
            else:
                only = {key(mill) for mill in only}
                lists = {mill: sacks for mill, sacks in lists.items() if mill in only}
                expected = {mill: sacks for mill, sacks in expected.items() if mill not in only} | lists
                publish(database, lists, sorted(only), spec)
            assert current(database) == expected
        outputs.reset(database, "grain")

    # The first publication settles whether ids are numbers or texts.
    spec = replace(SPEC, columns={**SPEC.columns, "mill": "text" if key is str else "int"})
    follow()


def test_a_rollback_is_digested_too(database, rows_read):
    for lists in ({1: ["a"]}, {1: ["b"]}):
        publish(database, lists)
    outputs.rollback(database, "grain", "2026-03-09T12:00:00Z")
    rows_read.clear()
    assert publish(database, {1: ["a"]}).changed == 0
    assert rows_read == []


def test_the_digests_of_an_abandoned_version_are_never_believed(database):
    publish(database, {1: ["a"]})
    begun(database, {1: ["b"]}).seal()
    assert publish(database, {1: ["b"]}).changed == 2
    assert current(database) == {1: ["b"]}


def test_a_version_that_gave_way_keeps_nothing(database):
    build = begun(database, {1: ["a"]})
    publish(database, {1: ["b"]})
    with pytest.raises(Fenced):
        build.seal()
    assert output_state.load(database, "grain", 1, DIGESTS) == {}


def test_digests_of_past_versions_are_thrown_away(database):
    for lists in ({1: ["a"]}, {1: ["b"]}, {1: ["c"]}):
        publish(database, lists)
    assert output_state.load(database, "grain", 1, DIGESTS) == {}


def test_few_rows_are_compared_and_not_digested(database, monkeypatch):
    monkeypatch.undo()
    publish(database, {1: ["a"]})
    assert output_state.load(database, "grain", 1, DIGESTS) == {}


def test_arrays_come_back_as_they_were_kept(database, monkeypatch):
    monkeypatch.setattr(output_state, "PART_BYTES", 7)
    texts = as_column(["é", "", "\0", "a" * 20], "text")
    arrays = {"x.numbers": np.arange(9, dtype=np.uint32), "x.texts": texts, "x.none": np.empty(0, np.float64)}
    for _ in range(2):
        output_state.save(database, "grain", 1, arrays, lambda connection: None)
    found = output_state.load(database, "grain", 1, "x.")
    assert {name: values.tolist() for name, values in found.items()} == {
        "numbers": list(range(9)),
        "texts": texts.tolist(),
        "none": [],
    }
    assert found["numbers"].dtype == np.uint32
    assert output_state.load(database, "grain", 1, "y.") == {}
    assert (output_state.newest(database, "grain", 5, "x."), output_state.newest(database, "grain", 0, "x.")) == (
        1,
        None,
    )


def test_a_reset_forgets_what_was_kept(database):
    publish(database, {1: ["a"]})
    outputs.reset(database, "grain")
    assert output_state.load(database, "grain", 1, DIGESTS) == {}


def test_an_output_made_anew_with_other_types_is_read_by_those_who_read_it_before(database):
    reader = open_engine(database.url.render_as_string(hide_password=False))
    for lists, kind in (({1: ["a"]}, "int"), ({"one": ["a"]}, "text"), ({1: ["a"]}, "int")):
        publish(database, lists, None, replace(SPEC, columns={**SPEC.columns, "mill": kind}))
        # The sixth time psycopg has prepared the statement.
        assert [current(reader) for _ in range(6)] == [lists] * 6
        spec, _ = outputs.find(reader, "grain")
        assert [outputs.all_keys(reader, spec, 1) for _ in range(6)] == [list(lists)] * 6
        assert [outputs.changed_keys(reader, spec, 0, 1) for _ in range(6)] == [list(lists)] * 6
        outputs.reset(database, "grain")
    reader.dispose()
