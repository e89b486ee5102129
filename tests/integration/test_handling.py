"""Events and their effects without a broker: one transaction, once, on each of the three databases."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

from clockmill import EventContext, Output, config
from clockmill.errors import JobError
from clockmill.exchange import handling
from clockmill.exchange.cloudevents import BadEvent, Event
from clockmill.exchange.handling import Group
from clockmill.handler_spec import HandlerSpec
from clockmill.mill import Mill
from db import inbox, outputs
from db.engine import read, write
from db.errors import DatabaseUnavailable
from db.tables import inbox as rows
from db.tables import outbox, publications

GRAIN = Output("grain", key="mill", columns={"mill": "id", "weight": "float"})


@pytest.fixture
def mill(database_url, tmp_path):
    tables = {"database": {"url": database_url}, "redis": {"url": "none"}}
    made = Mill(config.merge(tmp_path, None, tables, {}))
    with write(made.engine) as connection:
        connection.execute(text("CREATE TABLE notes (n INTEGER)"))
    yield made
    with write(made.engine) as connection:
        connection.execute(text("DROP TABLE notes"))
    made.engine.dispose()


def event(n, **data):
    return Event(f"e-{n}", "/test", "app.note.made", {"n": n, **data}, datetime(2026, 3, 8, tzinfo=UTC))


def note(ctx: EventContext) -> None:
    for one in ctx.events:
        ctx.execute("INSERT INTO notes (n) VALUES (:n)", n=one.data["n"])


def handle(mill, function, *events, **settings):
    spec = HandlerSpec("note", ("app.#",), function, **settings)
    return [(result.state, result.reason) for result in Group(mill, spec, events).handle()]


def notes(mill):
    with read(mill.engine) as connection:
        return sorted(connection.execute(text("SELECT n FROM notes")).scalars())


def handled(mill):
    with read(mill.engine) as connection:
        return sorted(connection.execute(select(rows.c.event)).scalars())


def test_an_effect_and_the_record_of_its_event_are_there_together(mill):
    assert handle(mill, note, event(1), event(2)) == [("done", ""), ("done", "")]
    assert notes(mill) == [1, 2]
    assert handled(mill) == ["/test e-1", "/test e-2"]


def test_an_event_twice_in_a_group_has_its_effect_once(mill):
    assert handle(mill, note, event(1), event(1)) == [("done", ""), ("done", "")]
    assert notes(mill) == [1]


def test_an_event_that_was_handled_is_not_given_to_the_handler_again(mill):
    handle(mill, note, event(1))
    assert handle(mill, pytest.fail, event(1)) == [("seen", "")]


def test_another_handler_of_the_same_event_has_its_own_effect(mill):
    handle(mill, note, event(1))
    other = HandlerSpec("other", ("app.#",), note)
    assert [result.state for result in Group(mill, other, [event(1)]).handle()] == ["done"]
    assert notes(mill) == [1, 1]


def test_what_an_effect_that_fails_has_done_is_undone_and_the_others_stand(mill):
    def stumble(ctx):
        note(ctx)
        if ctx.event.data["n"] == 2:
            ctx.effect(lambda connection: 1 / 0)

    states = handle(mill, stumble, event(1), event(2), event(3))
    assert states == [("done", ""), ("failed", "ZeroDivisionError: division by zero"), ("done", "")]
    assert notes(mill) == [1, 3]
    assert handled(mill) == ["/test e-1", "/test e-3"]


def test_a_handler_that_raises_fails_its_event_alone(mill):
    def refuse(ctx):
        if ctx.event.data["n"] == 1:
            raise JobError("not today")
        if ctx.event.data["n"] == 2:
            raise BadEvent("never")
        note(ctx)

    assert handle(mill, refuse, event(1), event(2), event(3)) == [
        ("failed", "not today"),
        ("refused", "never"),
        ("done", ""),
    ]


def test_a_table_that_is_missing_is_the_handlers_fault_not_the_databases(mill):
    def wrong(ctx):
        ctx.execute("INSERT INTO nowhere (n) VALUES (1)")

    ((state, reason),) = handle(mill, wrong, event(1))
    assert state == "failed"
    assert "nowhere" in reason


def test_a_database_that_is_away_is_no_attempt(mill, monkeypatch):
    def away(*_):
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(inbox, "seen", away)
    assert handle(mill, note, event(1)) == [("away", "gone")]


def test_two_that_handle_an_event_at_once_have_one_effect(mill):
    together = threading.Barrier(2)

    def meet(ctx):
        together.wait(10)
        note(ctx)

    states = []
    threads = [threading.Thread(target=lambda: states.append(handle(mill, meet, event(1))[0][0])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["done", "seen"]
    assert notes(mill) == [1]


def test_a_commit_whose_answer_was_lost_is_not_done_twice(mill, monkeypatch):
    real, tries = inbox.transactions.in_write, []

    def twice(engine, work):
        tries.append(real(engine, work))
        return real(engine, work)

    monkeypatch.setattr(inbox.transactions, "in_write", twice)
    assert handle(mill, note, event(1)) == [("done", "")]
    assert (len(tries), notes(mill)) == (1, [1])


def test_a_batch_is_one_call_and_one_effect(mill):
    sizes = []

    def gather(ctx):
        sizes.append(len(ctx.events))
        note(ctx)

    assert handle(mill, gather, *(event(n) for n in range(5)), batch=5) == [("done", "")] * 5
    assert (sizes, notes(mill)) == ([5], [0, 1, 2, 3, 4])


def test_a_handler_publishes_some_keys_of_an_output_with_its_event(mill):
    def weigh(ctx):
        ctx.publish("grain", {"mill": [ctx.event.data["n"]], "weight": [0.5]}, only=[ctx.event.data["n"]])
        ctx.emit("app.weighed", {"mill": ctx.event.data["n"]})

    assert handle(mill, weigh, event(1), event(2), outputs=(GRAIN,)) == [("done", ""), ("done", "")]
    spec, row = outputs.find(mill.engine, "grain")
    assert sorted(outputs.read_rows(mill.engine, spec, row.version)["mill"]) == [1, 2]
    with read(mill.engine) as connection:
        made = connection.execute(select(publications.c.build, publications.c.run_id)).all()
        told = connection.execute(select(outbox.c.type, outbox.c.run_id)).all()
    assert [tuple(one) for one in made] == [("partial", None), ("partial", None)]
    assert [tuple(one) for one in told] == [("app.weighed", None), ("app.weighed", None)]


def test_what_is_to_be_done_afterwards_is_done_when_it_stands(mill):
    done = []

    def later(ctx):
        ctx.afterwards(lambda: done.append(ctx.event.data["n"]))
        if ctx.event.data["n"] == 2:
            ctx.effect(lambda connection: 1 / 0)

    handle(mill, later, event(1), event(2))
    assert done == [1]


def test_a_reason_fits_into_a_header():
    assert len(handling.sentence(JobError("x" * 5000))) == 2000
    assert "\0" not in handling.sentence(ValueError("a\0b\ud800"))
