"""Rows as JSON values: their form, and that the compiled way writes the same bytes as the plain one."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import entities
from db.entities import Shape, json_values

AT = "2026-03-08T07:00:00Z"
RECOMMENDATIONS = Shape("user_id", "candidate_id", "score", {"mutual_count": "int", "mutual_ids": "json"})


@pytest.fixture(params=["plain", "compiled"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entities, "_many", lambda rows: request.param == "compiled")


def texts(*values: object) -> Any:
    return np.array([*values, None], object)[:-1]


def items_of(shape: Shape, **columns: Any) -> Any:
    ((_, value),) = json_values(1, AT, columns, shape)
    return json.loads(value)["items"]


def test_a_value_has_version_instant_and_items_with_score_and_reasons() -> None:
    columns = {
        "user_id": np.array([7, 7, 9]),
        "candidate_id": np.array([3, 12, 7]),
        "score": np.array([1.5, 0.1, 2.0]),
        "mutual_count": np.array([2, 1, 1]),
        "mutual_ids": texts("[1,2]", "[5]", "[4]"),
    }
    assert list(json_values(42, AT, columns, RECOMMENDATIONS)) == [
        (
            "7",
            b'{"v":42,"at":"2026-03-08T07:00:00Z","items":[[3,1.5,{"mutual_count":2,"mutual_ids":[1,2]}],'
            b'[12,0.1,{"mutual_count":1,"mutual_ids":[5]}]]}',
        ),
        ("9", b'{"v":42,"at":"2026-03-08T07:00:00Z","items":[[7,2.0,{"mutual_count":1,"mutual_ids":[4]}]]}'),
    ]


def test_text_ids_are_strings_in_their_own_letters() -> None:
    shape = Shape("sku", "other", None, {})
    ((key, value),) = json_values(1, AT, {"sku": texts("ø/1"), "other": texts('"50%" – 漢\n')}, shape)
    assert key == "ø/1"
    assert value.decode().endswith('[["\\"50%\\" – 漢\\n",null,{}]]}')


def test_what_json_lacks_is_null() -> None:
    shape = Shape("k", "i", "score", {"whole": "int", "text": "text", "data": "json"})
    items = items_of(
        shape,
        k=np.array([1, 1, 1]),
        i=np.array([1, 2, 3]),
        score=np.array([math.nan, math.inf, -math.inf]),
        whole=np.array([5.0, math.nan, -2.0]),
        text=texts("a", None, "c"),
        data=texts(None, '{"a":1}', [1, "ø"]),
    )
    assert items == [
        [1, None, {"whole": 5, "text": "a", "data": None}],
        [2, None, {"whole": None, "text": None, "data": {"a": 1}}],
        [3, None, {"whole": -2, "text": "c", "data": [1, "ø"]}],
    ]


def test_a_field_may_be_named_like_a_format() -> None:
    shape = Shape("k", "i", None, {"50%s": "time", 'a"b': "float"})
    items = items_of(shape, **{"k": np.array([1]), "i": np.array([1]), "50%s": texts(AT), 'a"b': np.array([0.5])})
    assert items == [[1, None, {"50%s": AT, 'a"b': 0.5}]]


def test_no_rows_are_no_values() -> None:
    columns = {"k": np.array([], np.int64), "i": np.array([], np.int64)}
    assert list(json_values(1, AT, columns, Shape("k", "i", None, {}))) == []


def test_many_chunks_and_a_key_larger_than_one_come_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entities, "CHUNK_ROWS", 7)
    sizes = [1, 3, 20, 2, 2, 2, 9, 1]
    keys = np.repeat(np.arange(len(sizes)), sizes)
    columns = {"k": keys, "i": np.arange(len(keys)), "t": texts(*(f"t{n}" for n in range(len(keys))))}
    values = list(json_values(1, AT, columns, Shape("k", "i", None, {"t": "text"})))
    assert [len(json.loads(value)["items"]) for _, value in values] == sizes
    assert [item for _, value in values for item, _, _ in json.loads(value)["items"]] == list(range(len(keys)))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32", "uint64", "float32", "float64"])
def test_a_score_of_any_number_type_is_written_as_python_writes_it(dtype: str) -> None:
    scores = np.array([0, 1, 3, 100], dtype) / np.array(1, dtype)
    scores = scores.astype(dtype)
    ((_, value),) = json_values(
        1, AT, {"k": np.ones(4, int), "i": np.ones(4, int), "s": scores}, Shape("k", "i", "s", {})
    )
    assert value.decode().partition("[[")[2] == "],[".join(f"1,{score!r},{{}}" for score in scores.tolist()) + "]]}"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]), min_size=1)
)
def test_a_double_is_the_shortest_text_that_reads_back(scores: list[float]) -> None:
    ones = np.ones(len(scores), int)
    ((_, value),) = json_values(1, AT, {"k": ones, "i": ones, "s": np.array(scores)}, Shape("k", "i", "s", {}))
    written = [repr(score) if math.isfinite(score) else "null" for score in scores]
    assert value.decode().partition("[[")[2] == "],[".join(f"1,{text},{{}}" for text in written) + "]]}"


@pytest.mark.parametrize("scores", [
    2.0 ** np.arange(-1074, 1024),
    10.0 ** np.arange(-323, 309),
    np.arange(-500, 500) / 100,
    1 / np.log(np.arange(2, 3000)),
    np.array([0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308]),
    np.array([9999999999999998.0, 1e16, 1e-4, 1e-5]),
])  # fmt: skip
def test_doubles_at_the_edges_are_written_as_python_writes_them(scores: Any) -> None:
    ones = np.ones(len(scores), int)
    ((_, value),) = json_values(1, AT, {"k": ones, "i": ones, "s": scores}, Shape("k", "i", "s", {}))
    assert value.decode().partition("[[")[2] == "],[".join(f"1,{score!r},{{}}" for score in scores.tolist()) + "]]}"


def test_integers_at_the_edges_are_whole() -> None:
    edges = [0, 9, 10, 99, 100, -1, -10, 10**18, 10**19 - 1 - 2**63, 2**63 - 1, -(2**63)]
    items = items_of(Shape("k", "i", None, {}), k=np.ones(len(edges), int), i=np.array(edges))
    assert [item for item, _, _ in items] == edges
