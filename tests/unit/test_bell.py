"""The bell between processes of one home."""

import os
import threading
import time

import pytest

from clockmill.bell import FOLDER, Bell, ring


@pytest.fixture
def bell(tmp_path):
    held = Bell(tmp_path, "mine")
    yield held
    held.close()


def waited(bell, limit_s=5.0):
    began = time.monotonic()
    bell.wait(limit_s)
    return time.monotonic() - began


def test_a_ring_of_another_process_ends_the_wait(bell, tmp_path):
    if not (pid := os.fork()):
        ring(tmp_path)
        os._exit(0)
    assert waited(bell) < 4
    os.waitpid(pid, 0)


def test_a_ring_of_another_thread_ends_the_wait(bell):
    threading.Timer(0.05, bell.ring).start()
    assert waited(bell) < 4


def test_rings_that_came_together_are_one(bell, tmp_path):
    for _ in range(50):
        ring(tmp_path)
        bell.ring()
    assert waited(bell) < 4
    assert waited(bell, 0.05) >= 0.05


def test_more_rings_than_a_buffer_holds_stop_nobody(bell, tmp_path):
    for _ in range(2000):
        ring(tmp_path)
        bell.ring()
    assert waited(bell) < 4


def test_the_bell_of_a_process_that_is_gone_is_thrown_away(bell, tmp_path):
    bell._far.close()
    ring(tmp_path)
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_without_a_bell_a_ring_is_lost(tmp_path):
    ring(tmp_path)
    assert not (tmp_path / FOLDER).exists()


def test_a_home_that_lies_deep_has_a_bell_too(tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    bell = Bell(deep, "x" * 36)
    ring(deep)
    assert waited(bell) < 4
    bell.close()
    assert list((deep / FOLDER).iterdir()) == []


def test_where_no_socket_can_be_made_threads_are_heard(tmp_path):
    (tmp_path / FOLDER).write_text("in the way")
    bell = Bell(tmp_path, "mine")
    bell.ring()
    assert waited(bell) < 4
    bell.close()


def test_a_bell_that_was_closed_is_rung_for_nobody(bell):
    bell.close()
    bell.ring()
