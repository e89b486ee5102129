"""The desk: which events are handed out, and when, as threads see it; no broker, no database."""

import threading
import time
from datetime import timedelta

import pytest

from clockmill.exchange import desk as desks
from clockmill.exchange.cloudevents import Event
from clockmill.exchange.desk import Delivery, Desk, Post
from clockmill.exchange.handling import Result
from clockmill.handler_spec import HandlerSpec


class Handler:
    """Notes what it is given; answers what it is told to, and when it may."""

    def __init__(self):
        self.groups, self.answers, self.may_go = [], {}, threading.Event()
        self.may_go.set()

    def __call__(self, post, group, begins):
        self.groups.append([delivery.tag for delivery in group])
        begins([delivery.event for delivery in group])
        assert self.may_go.wait(10)
        return [Result(self.answers.get(delivery.tag, ["done"]).pop(0)) for delivery in group]


@pytest.fixture
def handler():
    one = Handler()
    one.answers = {}
    return one


@pytest.fixture
def make_desk(handler):
    made = []

    def make(hands=4, **settings):
        spec = HandlerSpec("h", ("a",), print, **settings)
        desk = Desk(hands, lambda *words: answer(handler, *words), lambda: None)
        made.append(desk)
        post = Post(spec, "q")
        desk.open([post])
        return desk, post

    yield make
    handler.may_go.set()
    for desk in made:
        desk.close(5)


def answer(handler, post, group, begins):
    for delivery in group:
        handler.answers.setdefault(delivery.tag, ["done"])
        if not handler.answers[delivery.tag]:
            handler.answers[delivery.tag] = ["done"]
    return handler(post, group, begins)


def put(desk, post, tag, key=None):
    desk.put(Delivery(post, Event(str(tag), "/t", "a", {}), tag, b"", "", key=key))


def settled(desk, count):
    found, until = [], time.monotonic() + 10
    while len(found) < count and time.monotonic() < until:
        found += desk.take_settled()
        time.sleep(0.002)
    assert len(found) == count
    return [(one.delivery.tag, one.result.state) for one in found]


def test_what_is_put_down_is_handled_and_settled(make_desk):
    desk, post = make_desk()
    for tag in range(5):
        put(desk, post, tag)
    assert sorted(settled(desk, 5)) == [(tag, "done") for tag in range(5)]
    assert desk.idle(post)


def test_of_a_key_only_the_first_is_handed_out(make_desk, handler):
    desk, post = make_desk(order_by="k")
    handler.may_go.clear()
    for tag in range(3):
        put(desk, post, tag, key="a")
    put(desk, post, 9, key="b")
    handler.may_go.set()
    order = [tag for tag, _ in settled(desk, 4)]
    assert [tag for tag in order if tag != 9] == [0, 1, 2]
    assert all(len({0, 1, 2} & set(group)) <= 1 for group in handler.groups)


def test_one_that_fails_holds_up_its_key_until_it_is_settled(make_desk, handler, monkeypatch):
    monkeypatch.setattr(desks, "hold_s", lambda attempt: 0.05)
    desk, post = make_desk(order_by="k", retries=2)
    handler.answers[0] = ["failed", "failed", "done"]
    put(desk, post, 0, key="a")
    put(desk, post, 1, key="a")
    put(desk, post, 2, key="b")
    order = [tag for tag, _ in settled(desk, 3)]
    assert order.index(0) < order.index(1)
    assert order[0] == 2
    assert post.flow.failed == 2


def test_one_that_fails_too_often_is_settled_as_failed_and_its_key_goes_on(make_desk, handler, monkeypatch):
    monkeypatch.setattr(desks, "hold_s", lambda attempt: 0.01)
    desk, post = make_desk(order_by="k", retries=1)
    handler.answers[0] = ["failed", "failed"]
    put(desk, post, 0, key="a")
    put(desk, post, 1, key="a")
    assert settled(desk, 2) == [(0, "failed"), (1, "done")]


def test_a_database_that_is_away_uses_up_no_attempt(make_desk, handler, monkeypatch):
    monkeypatch.setattr(desks, "AWAY_S", 0.01)
    desk, post = make_desk(retries=0)
    handler.answers[0] = ["away"] * 5 + ["done"]
    put(desk, post, 0)
    assert settled(desk, 1) == [(0, "done")]


def test_a_batch_is_full_or_has_waited(make_desk, handler):
    desk, post = make_desk(batch=3, gather=timedelta(seconds=1))
    for tag in range(4):
        put(desk, post, tag)
    settled(desk, 4)
    assert handler.groups == [[0, 1, 2], [3]]


def test_batches_of_one_handler_follow_each_other(make_desk, handler):
    desk, post = make_desk(batch=2)
    handler.may_go.clear()
    for tag in range(4):
        put(desk, post, tag)
    time.sleep(0.05)
    assert len(handler.groups) == 1
    handler.may_go.set()
    settled(desk, 4)


def test_what_came_over_a_connection_that_is_gone_is_not_settled(make_desk, handler):
    desk, post = make_desk()
    handler.may_go.clear()
    put(desk, post, 0)
    while not handler.groups:
        time.sleep(0.002)
    desk.open([])
    handler.may_go.set()
    while post.under_way:
        time.sleep(0.002)
    assert desk.take_settled() == []


def test_a_call_that_lasts_too_long_is_overdue(make_desk, handler):
    desk, post = make_desk(timeout=timedelta(milliseconds=20))
    handler.may_go.clear()
    put(desk, post, 0)
    until = time.monotonic() + 10
    while not (found := desk.overdue()) and time.monotonic() < until:
        time.sleep(0.005)
    assert [delivery.tag for delivery in found[0].group] == [0]
