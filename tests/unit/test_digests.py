"""Digests of lists tell changed lists from unchanged ones, as comparing the rows does."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.columns import as_column, sort_rows
from db.digests import Lists, differing, digest_lists, digest_rows, merged, places
from db.output_spec import OutputSpec

KINDS = {"who": "id", "rank": "int", "what": "text", "score": "float", "why": "json", "at": "time"}
SPEC = OutputSpec("grain", key="who", order="rank", item="what", columns=KINDS, stamp=("at",))

NUMBERED = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5)
NAMED = st.sampled_from(["", "a", "A", "é", "\0", "aaaaaaaa", "aaaaaaaab", "\U0001f600"])
#: (what, score, why, at) of one row.
CELLS = st.tuples(
    NAMED,
    st.sampled_from([0.5, 1.0, math.nan, math.inf, 1e300]),
    st.sampled_from(["[]", "[1]", "[1,2]", None, "", "[12345678]", "[123456789]"]),
    st.sampled_from(["yesterday", "today"]),
)


def rows_of(lists):
    return [(key, rank, *cells) for key, items in lists.items() for rank, cells in enumerate(items)]


def columns(lists):
    rows = rows_of(lists)
    listed = list(zip(*rows, strict=True)) if rows else [()] * len(KINDS)
    given = {name: as_column(list(v), kind) for (name, kind), v in zip(KINDS.items(), listed, strict=True)}
    return sort_rows(given, SPEC.row_key)


def told(items):
    """What of a list makes a change: not the time. NaN equals NaN."""
    return [(what, "nan" if math.isnan(score) else score, why) for what, score, why, _ in items]


@pytest.mark.parametrize("keys", [NUMBERED, NAMED], ids=["numbers", "texts"])
def test_lists_whose_digests_differ_are_those_whose_rows_differ(keys):
    lists = st.dictionaries(keys, st.lists(CELLS, min_size=1, max_size=3), max_size=6)

    @given(lists, lists)
    def compare(old, new):
        new = {**new, **{key: old[key] for key in list(old)[:2]}}
        changed, gone = differing(digest_lists(SPEC, columns(old)), digest_lists(SPEC, columns(new)))
        assert sorted(changed) == sorted(k for k in new if k not in old or told(old[k]) != told(new[k]))
        assert sorted(gone) == sorted(set(old) - set(new))

    compare()


@pytest.mark.parametrize("keys", [NUMBERED, NAMED], ids=["numbers", "texts"])
def test_digests_merged_after_some_lists_were_replaced_are_those_of_the_whole(keys):
    lists = st.dictionaries(keys, st.lists(CELLS, min_size=1, max_size=2), min_size=1, max_size=6)

    @given(lists, lists, st.data())
    def compare(old, new, data):
        only = data.draw(st.lists(st.sampled_from([*old, *new]), unique=True))
        some = {key: new[key] for key in only if key in new}
        expected = digest_lists(SPEC, columns({**{k: v for k, v in old.items() if k not in only}, **some}))
        found = merged(digest_lists(SPEC, columns(old)), digest_lists(SPEC, columns(some)), only)
        assert found.keys.tolist() == expected.keys.tolist()
        assert found.values.tolist() == expected.values.tolist()

    compare()


def test_a_row_in_another_place_is_another_list():
    first = columns({1: [("a", 0.5, "", ""), ("b", 0.5, "", "")]})
    second = columns({1: [("b", 0.5, "", ""), ("a", 0.5, "", "")]})
    assert differing(digest_lists(SPEC, first), digest_lists(SPEC, second))[0].tolist() == [1]


def test_the_length_of_a_text_and_its_end_count():
    texts = ["", None, "\0", "\0\0", "12345678", "12345678\0", "1234567", "123456789", "é", "Ã©"]
    assert len(set(digest_rows([as_column(texts, "text")]).tolist())) == len(texts)


def test_chunks_do_not_show(monkeypatch):
    given = [np.arange(10), as_column([f"{n}" * n for n in range(10)], "text")]
    whole = digest_rows(given).tolist()
    monkeypatch.setattr("db.digests.CHUNK_ROWS", 3)
    assert digest_rows(given).tolist() == whole


def test_digests_are_the_same_in_every_process_and_release():
    # They are kept in the database: another value would only cost one more comparison, but should be a decision.
    given = [np.array([7]), np.array([0.5]), as_column(["[1,2,3]"], "json")]
    assert digest_rows(given).tolist() == [17289268574040436534]


def test_places_of_keys_that_are_not_there_are_negative():
    assert places(np.array([1, 5, 9]), np.array([5, 6, 10, 0])).tolist() == [1, -1, -1, -1]
    assert places(np.array([1, 5, 2**62]), np.array([5, 6, 2**62, -1])).tolist() == [1, -1, 2, -1]
    assert places(np.array([-(2**63), 0]), np.array([0, 2**63 - 1])).tolist() == [1, -1]
    assert places(as_column(["a", "b"], "text"), as_column(["b", "c"], "text")).tolist() == [1, -1]


def test_no_list_at_all_has_no_digest():
    nothing = digest_lists(SPEC, columns({}))
    assert isinstance(nothing, Lists)
    assert not len(nothing.keys)
