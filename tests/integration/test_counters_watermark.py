"""Counters of append-only sources read new rows alone, and count none twice, on each of the three databases."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from clockmill import config
from clockmill.mill import Mill
from db.engine import read, write

COUNTERS = {
    "by_author": {"query": "SELECT user_id AS key, count(*) AS value FROM {posts} GROUP BY user_id", "additive": True},
    "stars": {"query": "SELECT 'all' AS key, sum(post_id) AS value FROM {posts}", "additive": True},
}
POSTS = {"table": "articles", "columns": {"post_id": "id", "user_id": "author"}, "append_only": True}
NOON = datetime(2026, 3, 8, 12)


def settings(database_url, increment):
    sources = {"posts": {**POSTS, "increment": increment}}
    return {"database": {"url": database_url}, "redis": {"url": "none"}, "sources": sources, "counters": COUNTERS}


@pytest.fixture(params=["made", "id"])
def mill(request, database_url, tmp_path):
    made = Mill(config.merge(tmp_path, None, settings(database_url, request.param), {}))
    kind = "TIMESTAMP" if made.engine.dialect.name == "postgresql" else "DATETIME"
    with write(made.engine) as connection:
        connection.execute(text(f"CREATE TABLE articles (id INTEGER, author VARCHAR(9), made {kind})"))
    yield made
    with write(made.engine) as connection:
        connection.execute(text("DROP TABLE articles"))
    made.engine.dispose()


def post(mill, *rows):
    """Rows (id, author, minutes after noon)."""
    values = [{"id": i, "author": who, "made": str(NOON + timedelta(minutes=at))} for i, who, at in rows]
    with write(mill.engine) as connection:
        connection.execute(text("INSERT INTO articles VALUES (:id, :author, :made)"), values)


def counts(mill, name):
    with read(mill.engine) as connection:
        query = text("SELECT * FROM counters_current WHERE name = :name")
        return {row.key: row.value for row in connection.execute(query, {"name": name})}


def why(report):
    return report["builds"]["counters"]["why"]


def test_new_rows_alone_are_read_and_added(mill, run):
    post(mill, (1, "ann", 0), (2, "bob", 1))
    assert why(run(mill, "counters")) == "9 counted"
    post(mill, (3, "ann", 2), (4, "eve", 2))
    assert why(run(mill, "counters")) == "5 counted, 4 by new rows"
    assert counts(mill, "by_author") == {"ann": 2, "bob": 1, "eve": 1}
    assert counts(mill, "posts") == {"total": 4}
    assert counts(mill, "stars") == {"all": 10}


def test_rows_of_the_last_instant_that_come_later_are_counted_once(mill, run):
    post(mill, (1, "ann", 0), (2, "bob", 1))
    run(mill, "counters")
    post(mill, (2, "bob", 1))
    run(mill, "counters")
    assert counts(mill, "by_author") == {"ann": 1, "bob": 2}
    post(mill, (2, "ann", 1), (3, "ann", 2))
    for _ in range(2):
        run(mill, "counters")
        assert counts(mill, "by_author") == {"ann": 3, "bob": 2}


def test_a_recount_repairs_what_came_late_and_says_so(mill, run, capsys):
    post(mill, (1, "ann", 0), (5, "bob", 5))
    run(mill, "counters")
    post(mill, (2, "ann", 1))
    run(mill, "counters")
    assert counts(mill, "by_author") == {"ann": 1, "bob": 1}
    report = run(mill, "counters", recount="0s")
    assert why(report).endswith("4 by recount; drift repaired: posts, posts_by_user, by_author, stars")
    assert "by_author: the recount found 1 values off, the most 'ann': 2, not 1; repaired" in capsys.readouterr().out
    assert counts(mill, "by_author") == {"ann": 2, "bob": 1}


def test_an_attempt_that_never_committed_is_not_counted(mill, run, monkeypatch):
    post(mill, (1, "ann", 0))
    run(mill, "counters")
    post(mill, (2, "ann", 1))

    def killed(*_, **__):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(mill.ledger, "finish", killed)
        assert run(mill, "counters") == "RuntimeError: killed"
    assert counts(mill, "by_author") == {"ann": 1}
    for _ in range(2):
        run(mill, "counters")
        assert counts(mill, "by_author") == {"ann": 2}


def test_full_counts_everything(mill, run):
    post(mill, (1, "ann", 0))
    run(mill, "counters")
    assert why(run(mill, "counters", full=True)) == "9 counted"


@pytest.mark.parametrize(
    ("table", "changed", "message"),
    [
        ("sources", {"increment": None}, "[sources.posts]: append_only needs increment"),
        ("sources", {"increment": "mad"}, '[sources.posts] increment: the table "articles" has no column "mad"'),
        ("counters", {"query": "SELECT 1 AS key, 1 AS value"}, "[counters.by_author] additive: the query names no"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_so_is_refused_by_its_key(mill, run, table, changed, message):
    name = {"sources": "posts", "counters": "by_author"}[table]
    mill.config.tables[table][name] = {**mill.config.tables[table][name], **changed}
    post(mill, (1, "ann", 0))
    assert run(mill, "counters").startswith(message)
