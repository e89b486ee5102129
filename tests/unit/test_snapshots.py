"""Arrays on disk: found again while whole and of the same thing, never believed otherwise."""

import numpy as np
import pytest

from db import snapshots

ARRAYS = {
    "indptr": np.array([0, 2, 3]),
    "indices": np.array([1, 2, 0], np.uint32),
    "data": np.array([0.5, np.nan, -1.0]),
    "at": np.array(["2026-03-08", "NaT"], "M8[us]"),
    "none": np.empty(0, np.int64),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "friendships"


def keep(path, identity="mapping", arrays=ARRAYS):
    snapshots.save(path, identity, "state", {"rows": 3}, arrays)


def test_what_was_kept_is_found_again(path):
    keep(path)
    found = snapshots.find(path, "mapping")
    assert (found.state, found.facts) == ("state", {"rows": 3})
    for name, values in ARRAYS.items():
        assert found.arrays[name].dtype == values.dtype
        assert found.arrays[name].tobytes() == values.tobytes()


def test_of_something_else_there_is_nothing(path):
    keep(path)
    assert snapshots.find(path, "another mapping") is None
    assert snapshots.find(path.with_name("absent"), "mapping") is None


def test_whoever_writes_to_an_array_changes_no_file(path):
    keep(path)
    snapshots.find(path, "mapping").arrays["indptr"][:] = 7
    assert snapshots.find(path, "mapping").arrays["indptr"].tolist() == [0, 2, 3]


def test_a_file_with_any_byte_changed_is_not_believed(path):
    keep(path)
    whole = path.read_bytes()
    header = whole.index(b"{")
    for place in [0, 7, 10, *range(header, whole.index(b"}}") + 2, 5), *_content(whole)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert snapshots.find(path, "mapping") is None, place


def _content(whole):
    """Places of bytes of the arrays."""
    begin = whole.index(ARRAYS["indptr"].tobytes())
    return [begin, begin + 23, whole.index(ARRAYS["data"].tobytes()) + 16]


@pytest.mark.parametrize("left", [0, 5, 40, 300, -64])
def test_a_file_that_is_cut_off_is_not_believed(path, left):
    keep(path)
    path.write_bytes(path.read_bytes()[:left])
    assert snapshots.find(path, "mapping") is None


def test_another_snapshot_takes_the_place_at_once_and_leaves_nothing_else(path):
    keep(path)
    before = snapshots.find(path, "mapping")
    keep(path, arrays={"indptr": np.array([9])})
    assert before.arrays["indptr"].tolist() == [0, 2, 3]
    assert snapshots.find(path, "mapping").arrays["indptr"].tolist() == [9]
    assert [file.name for file in path.parent.iterdir()] == ["friendships"]


def test_objects_are_refused(path):
    with pytest.raises(ValueError, match="array ids: object cannot be kept"):
        keep(path, arrays={"ids": np.array(["x"], object)})
    assert not path.exists()


def test_who_writes_while_another_does_leaves_it_to_that_one(path):
    keep(path)
    with snapshots._aside(path) as other:
        other.write(b"half")
        with pytest.raises(BlockingIOError):
            keep(path, arrays={"indptr": np.array([9])})
        assert snapshots.find(path, "mapping").arrays["indptr"].tolist() == [0, 2, 3]


def test_what_a_killed_writer_left_is_written_over(path):
    path.parent.mkdir()
    path.with_name("friendships.new").write_bytes(b"half of something much longer" * 100)
    keep(path)
    assert snapshots.find(path, "mapping") is not None
    assert [file.name for file in path.parent.iterdir()] == ["friendships"]
