import math

import numba
import pytest

from clockmill.compute import (
    compile_kernels,
    friendship_graph,
    kernels,
    native,
    ratings_matrix,
    recommend,
    similar_products,
)


@pytest.fixture
def no_cache_dir(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")


def compiled():
    found = vars(kernels).values()
    return {kernel.__name__: len(kernel.signatures) for kernel in found if hasattr(kernel, "signatures")}


@pytest.mark.parametrize("value", [1.0, math.pi])
@pytest.mark.parametrize("ids", [[1, 2, 3, 10**12], ["a", "b", "c", "d"]])
def test_after_compile_kernels_nothing_is_left_to_compile(value, ids):
    compile_kernels()
    before = compiled()
    recommend(friendship_graph(ids[:3], ids[1:]), "jaccard")
    similar_products(ratings_matrix(ids + ids, ids + ids[::-1], [value] * 8))
    assert compiled() == before


def test_a_package_that_cannot_be_written_keeps_machine_code_in_the_cache_dir(no_cache_dir, monkeypatch, tmp_path):
    monkeypatch.setattr(native.os, "access", lambda path, mode: False)
    compile_kernels(tmp_path)
    assert str(tmp_path) == numba.config.CACHE_DIR


def test_a_package_that_can_be_written_keeps_machine_code_itself(no_cache_dir, tmp_path):
    compile_kernels(tmp_path)
    assert numba.config.CACHE_DIR == ""
