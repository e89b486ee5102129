import subprocess
import sys
from itertools import pairwise
from threading import Event

import numpy as np
import pytest

from clockmill import compute
from clockmill.compute.blocks import equal_blocks, run_blocks


def test_blocks_cover_all_rows_without_a_gap():
    blocks = equal_blocks(np.array([5, 0, 0, 100, 3, 3, 3, 9]), threads=2)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == 8
    assert all(end == start for (_, end), (start, _) in pairwise(blocks))


def test_blocks_hold_about_equal_wedges():
    wedges = np.arange(10_000)
    sums = [wedges[first:last].sum() for first, last in equal_blocks(wedges, threads=2)]
    assert len(sums) == 8
    assert max(sums) < 1.01 * min(sums)


def test_no_rows_make_no_blocks():
    assert equal_blocks(np.empty(0, np.int64), threads=2) == []


def test_results_come_in_the_order_of_the_blocks():
    assert run_blocks(lambda first, last: (first, last), [(0, 3), (3, 4), (4, 9)], threads=2) == [
        (0, 3),
        (3, 4),
        (4, 9),
    ]


def test_blocks_not_begun_are_left_out_after_an_error():
    begun = []
    never = Event()

    def work(first, last):
        begun.append(first)
        if first == 0:
            raise ArithmeticError
        never.wait(0.01)

    with pytest.raises(ArithmeticError):
        run_blocks(work, [(i, i + 1) for i in range(10_000)], threads=1)
    assert len(begun) < 5_000


def test_importing_compute_imports_neither_numpy_nor_numba():
    code = "import sys; from clockmill import compute; print({'numpy', 'numba'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_every_name_of_compute_is_found():
    assert all(callable(getattr(compute, name)) for name in compute.__all__)


def test_a_name_that_compute_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'guess'"):
        getattr(compute, "guess")  # noqa: B009
