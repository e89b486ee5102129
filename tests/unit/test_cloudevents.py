"""Events as JSON: what we write anybody can read, and what strangers write is looked at before it is believed."""

import json
from datetime import UTC, datetime

import pytest

from clockmill.errors import JobError
from clockmill.exchange.cloudevents import BadEvent, check_data, new_event, read_event
from clockmill.exchange.outgoing import indexable

NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
WHOLE = {"specversion": "1.0", "id": "1", "source": "/app", "type": "app.like.created", "data": {"user_id": 3}}
LIMIT = 10_000


def read(**changes):
    return read_event(json.dumps({**WHOLE, **changes}).encode(), LIMIT)


def test_an_event_of_ours_is_a_cloudevent():
    event = new_event("app.like.created", {"user_id": 3}, "/clockmill/app", NOON, key=3)
    assert json.loads(event.to_json()) == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/clockmill/app",
        "type": "app.like.created",
        "time": "2026-03-08T12:00:00Z",
        "partitionkey": "3",
        "datacontenttype": "application/json",
        "data": {"user_id": 3},
    }
    assert read_event(event.to_json().encode(), LIMIT) == event


def test_what_the_specification_does_not_know_is_kept():
    assert read(traceparent="00-1").extensions == {"traceparent": "00-1"}


def test_an_id_is_unique_within_its_source():
    assert read(source="/a").unique != read(source="/b").unique


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": None}, "its id is missing"),
        ({"id": ""}, "its id is an empty text"),
        ({"id": 7}, "its id is a number"),
        ({"id": "a\0b"}, "its id has control characters"),
        ({"id": "\ud800"}, "its id has control characters"),
        ({"id": "x" * 1025}, "its id has 1025 bytes; at most 1024"),
        ({"source": None}, "its source is missing"),
        ({"type": None}, "its type is missing"),
        ({"type": "app..x"}, "is not words between dots"),
        ({"type": "a b"}, "is not words between dots"),
        ({"type": "x" * 256}, "its type has 256 bytes; at most 255"),
        ({"data": None}, "its data is missing"),
        ({"data": [1]}, "its data is a list; expected an object"),
        ({"time": "noon"}, "its time 'noon' is not an instant"),
        ({"time": 12}, "its time '12' is not an instant"),
        ({"specversion": "0.3"}, 'it has no specversion "1.0"'),
        ({"data": {"x": "y" * LIMIT}}, "bytes; .broker. max_event allows"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(changes, reason):
    with pytest.raises(BadEvent, match=reason):
        read(**changes)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[1]", b'"x"', b"null", b'{"a": NaN}', b"[" * 5000])
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(BadEvent, match="its body is"):
        read_event(body, LIMIT)


def test_a_type_of_255_bytes_is_an_event():
    assert read(type="x" * 255).type == "x" * 255


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "its data has no user_id; app.like.created needs user_id, score"),
        ({"user_id": 1.5, "score": 1}, "its data.user_id is a number; expected id"),
        ({"user_id": True, "score": 1}, "its data.user_id is true or false; expected id"),
        ({"user_id": "a\0", "score": 1}, "its data.user_id has control characters"),
        ({"user_id": 1, "score": "x"}, "its data.score is a text; expected float"),
    ],
)
def test_data_that_does_not_fit_its_declaration_is_refused_with_the_field(data, reason):
    with pytest.raises(BadEvent, match=reason):
        check_data(read(data=data), {"user_id": "id", "score": "float"})


def test_data_that_fits_may_hold_more():
    check_data(read(data={"user_id": "u1", "score": 1, "more": [1]}), {"user_id": "id", "score": "float"})


@pytest.mark.parametrize(
    ("type", "data", "reason"),
    [
        ("app like", {}, "not words between dots"),
        ("app.like", [1], "data is a list"),
        ("app.like", {"x": object()}, "not JSON serializable"),
        ("app.like", {"x": float("nan")}, "not JSON compliant"),
        ("app.like", {"x": "y" * LIMIT}, "max_event allows 9.766K"),
    ],
)
def test_a_job_that_emits_what_is_no_event_is_told_so(type, data, reason):
    with pytest.raises(JobError, match=reason):
        new_event(type, data, "/x", NOON, limit=LIMIT)


def test_a_long_key_stands_in_the_index_as_its_hash():
    assert indexable("k" * 191) == "k" * 191
    assert len(indexable("k" * 192)) == 64
    assert indexable("k" * 192) != indexable("k" * 193)
