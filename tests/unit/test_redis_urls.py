"""What a `[redis] url` may be, and that no password is ever shown."""

from pathlib import Path

import pytest

from db.errors import RedisUnavailable
from db.redis_server import connect, masked


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@localhost/0", "redis://***@localhost/0"),
        ("rediss://user:secret@host:6380/1", "rediss://***@host:6380/1"),
        ("redis://:sec/ret@host/0", "redis://***@host/0"),
        ("redis://:sec@ret@host/0", "redis://***@host/0"),
        ("redis://:sec?ret@host/0", "redis://***"),
        ("redis://host/0?password=secret", "redis://host/0"),
        ("redis://host/0?password=sec@ret", "redis://***"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock"),
        ("embedded", "embedded"),
    ],
)
def test_a_shown_url_has_no_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_none_is_no_redis(tmp_path: Path) -> None:
    assert connect("none", tmp_path) is None


def test_a_url_of_another_kind_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable, match=r'"amqp://\*\*\*@host" is not a Redis URL; allowed: embedded, none'):
        connect("amqp://user:secret@host", tmp_path)


@pytest.mark.parametrize("url", ["redis://:secret@host:66a6", "redis://:secret/x@host", "redis://:secret@h?colour=red"])
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable) as error:
        connect(url, tmp_path)
    assert "secret" not in str(error.value)


def test_a_given_server_is_not_asked_before_the_first_command(tmp_path: Path) -> None:
    assert connect("redis://127.0.0.1:1/0", tmp_path) is not None
