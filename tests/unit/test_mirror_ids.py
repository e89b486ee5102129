"""Which ids may become part of a Redis key."""

import pytest

from db.errors import OutputError
from db.mirror import Mirror, check_ids


@pytest.mark.parametrize("id", ["1", 1, -5, "a:b", "a}:{b", "*", "", "ø" * 256, "SKU 12/3"])
def test_an_id_may_be_any_text_or_number(id: str | int) -> None:
    check_ids([id])


@pytest.mark.parametrize(
    ("id", "complaint"),
    [
        ("a\r\nFLUSHALL", "control characters"),
        ("\0", "control characters"),
        ("\x9b", "control characters"),
        ("ø" * 257, "has 514 bytes; at most 512"),
        ("\ud800", "not valid text"),
    ],
)
def test_an_id_that_could_not_be_typed_as_a_key_is_refused(id: str, complaint: str) -> None:
    with pytest.raises(OutputError, match=complaint):
        check_ids(["fine", id])


@pytest.mark.parametrize("namespace", ["", "a b", "{app}", "a:b", "*", "é"])
def test_a_namespace_is_a_plain_name(namespace: str) -> None:
    from unittest.mock import Mock

    with pytest.raises(OutputError, match="the namespace"):
        Mirror(Mock(), namespace)
