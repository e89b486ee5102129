"""Which events may be under way at once: of each key one."""

from types import SimpleNamespace

from clockmill.exchange.relay import flights


def rows(*keys):
    return [SimpleNamespace(seq=seq, order_key=key) for seq, key in enumerate(keys)]


def seqs(keys):
    return [[row.seq for row in flight] for flight in flights(rows(*keys))]


def test_events_without_a_key_go_together():
    assert seqs([None, None, None]) == [[0, 1, 2]]


def test_events_of_one_key_go_one_after_the_other():
    assert seqs(["a", "b", "a", None, "a"]) == [[0, 1, 3], [2], [4]]


def test_nothing_goes_where_nothing_waits():
    assert seqs([]) == []
