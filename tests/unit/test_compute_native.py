import math
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from clockmill.compute import (
    change_kernels,
    changed_people,
    changed_products,
    compared,
    compile_kernels,
    dense_core,
    everything,
    friendship_graph,
    graph_kernels,
    heaps,
    kernels,
    know_graph,
    know_ratings,
    native,
    pair_kernels,
    people_basis,
    people_changes,
    product_changes,
    products_basis,
    ratings_matrix,
    recommend,
    scoring,
    similar_products,
)
from db.bases import Basis


@pytest.fixture
def no_cache_dir(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(native, "_elsewhere", None)


def compiled():
    found = [
        value
        for module in (change_kernels, dense_core, graph_kernels, heaps, kernels, pair_kernels, scoring)
        for value in vars(module).values()
    ]
    return {kernel.__name__: len(kernel.signatures) for kernel in found if hasattr(kernel, "signatures")}


def follow(ids, value, monkeypatch):
    """Incremental builds after a change, as the jobs make them, however much it reaches."""
    for module in (people_changes, product_changes):
        monkeypatch.setattr(module, "WORTH", 2)
    graph, later = (friendship_graph(ids[:n], ids[1 : n + 1]) for n in (2, 3))
    known, ratings = know_graph(graph, "jaccard"), ratings_matrix(ids, ids[::-1], [value] * 4)
    before = Basis(people_basis(graph, known, 2, Basis(), everything(""), recommend(graph, "jaccard", 2)))
    changed_people(later, know_graph(later, "jaccard"), before)
    feedback = know_ratings(ratings, *compared(ratings, "jaccard"))
    lists = similar_products(ratings, "jaccard", 2, 1)
    before = Basis(products_basis(ratings, feedback, 2, Basis(), everything(""), lists))
    again = ratings_matrix([*ids, ids[0]], [*ids[::-1], ids[0]], [value] * 5)
    changed_products(again, know_ratings(again, *compared(again, "jaccard")), 1, before)


@pytest.mark.parametrize("value", [1.0, math.pi])
@pytest.mark.parametrize("ids", [[1, 2, 3, 10**12], ["a", "b", "c", "d"]])
def test_after_compile_kernels_nothing_is_left_to_compile(value, ids, monkeypatch):
    compile_kernels()
    before = compiled()
    recommend(friendship_graph(ids[:3], ids[1:]), "jaccard")
    similar_products(ratings_matrix(ids + ids, ids + ids[::-1], [value] * 8))
    follow(ids, value, monkeypatch)
    assert compiled() == before


def test_a_package_that_cannot_be_written_keeps_machine_code_in_the_cache_dir(no_cache_dir, monkeypatch, tmp_path):
    monkeypatch.setattr(native.os, "access", lambda path, mode: False)
    compile_kernels(tmp_path)
    assert native.machine_code().parent == tmp_path


def test_a_package_that_can_be_written_keeps_machine_code_itself(no_cache_dir, tmp_path):
    compile_kernels(tmp_path)
    assert native.machine_code().parent == Path(native.__file__).parent / "__pycache__"


def test_changed_sources_have_another_folder_of_machine_code(no_cache_dir, monkeypatch, tmp_path):
    before = native.machine_code()
    (tmp_path / "kernels.py").write_text("\n@kernel\ndifferent")
    monkeypatch.setattr(native, "_PACKAGE", tmp_path)
    native._sources.cache_clear()
    try:
        assert native.machine_code().name != before.name
    finally:
        native._sources.cache_clear()


def test_a_first_compilation_is_told_of_and_a_second_is_not(tmp_path):
    # The smallest kernels alone, for the sake of time.
    code = (
        "from clockmill import compute; compute.recommend = compute.similar_products = compute.or_popular_people = "
        "compute.or_popular_products = lambda *_, **__: None; compute.compile_kernels(None, print)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    told = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
        for _ in range(2)
    ]
    assert told[0].startswith("compiling the kernels, once")
    assert told[1] == ""
