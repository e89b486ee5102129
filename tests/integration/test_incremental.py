"""Runs that build only what changed: what they publish is what a full build would, on each of the three databases."""

import pytest
from sqlalchemy import text

from clockmill import config
from clockmill.mill import Mill
from db import outputs
from db.engine import read, write
from db.load import load_columns

RING = {(u, (u + step) % 60) for u in range(60) for step in (1, 2, 5)}

JOBS = """
import numpy as np
from clockmill import Context, Output, job

DOUBLE = Output("doubles", key="number", item="twice", columns={"number": "int", "twice": "int"}, redis=None)


@job(outputs=[DOUBLE])
def refresh(ctx: Context) -> None:
    ctx.publish("doubles", {"number": [3], "twice": [0]}, only=[3, 4])


@job(params={"upto": 5, "factor": 2, "full": False}, outputs=[DOUBLE])
def double(ctx: Context) -> None:
    before = ctx.basis("doubles", {"factor": ctx.params["factor"]})
    numbers = list(range(ctx.params["upto"]))
    only = None if not before else sorted({*numbers} - {*before.arrays["done"].tolist()} | {*before.renewed})
    todo = numbers if only is None else [n for n in only if n in numbers]
    twice = [ctx.params["factor"] * n for n in todo]
    why = before.missing or "more"
    ctx.publish("doubles", {"number": todo, "twice": twice}, only, basis={"done": np.array(numbers)}, why=why)


@job(outputs=[DOUBLE])
def careless(ctx: Context) -> None:
    ctx.publish("doubles", {"number": [], "twice": []}, basis={})
"""


@pytest.fixture
def mill(database_url, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "doubles.py").write_text(JOBS)
    tables = {"database": {"url": database_url}, "redis": {"url": "none"}, "scheduler": {"job_folders": ["jobs"]}}
    made = Mill(config.merge(tmp_path, None, tables, {}))
    yield made
    made.engine.dispose()


def befriend(mill, rows):
    users, friends = zip(*sorted(rows), strict=True)
    load_columns(mill.engine, "friendships", {"user_id": list(users), "friend_id": list(friends)}, replace=True)


def published(mill, output):
    with read(mill.engine) as connection:
        return sorted(tuple(row) for row in connection.execute(text(f"SELECT * FROM {output}_current")))


def both(mill):
    return published(mill, "friends"), published(mill, "recommendations")


@pytest.mark.parametrize("weighting", ["adamic_adar", "jaccard"])
def test_after_a_few_edits_only_the_lists_they_reach_are_built_and_all_are_right(mill, run, weighting):
    befriend(mill, RING)
    first = run(mill, "recommendations", weighting=weighting)
    assert first["builds"]["recommendations"]["why"] == "nothing was published yet"
    befriend(mill, RING - {(10, 11)} | {(200, 12)})
    second = run(mill, "recommendations", weighting=weighting)
    assert second["builds"]["recommendations"]["build"] == "partial"
    assert second["builds"]["recommendations"]["why"].startswith("4 changes reach ")
    incremental = both(mill)
    assert run(mill, "recommendations", weighting=weighting, full=True)["builds"]["recommendations"] == {
        "build": "full", "version": 3, "changed": 0, "why": "full = true"
    }  # fmt: skip
    assert both(mill) == incremental


def test_people_who_leave_take_their_lists_with_them(mill, run):
    befriend(mill, RING | {(100, 101), (101, 5)})
    run(mill, "recommendations", weighting="jaccard")
    befriend(mill, RING)
    assert run(mill, "recommendations", weighting="jaccard")["builds"]["recommendations"]["build"] == "partial"
    incremental = both(mill)
    assert {100, 101} & {row[0] for rows in incremental for row in rows} == set()
    run(mill, "recommendations", weighting="jaccard", full=True)
    assert both(mill) == incremental


def test_who_has_no_candidate_is_shown_who_is_popular_now(mill, run):
    ring = {(u, (u + step) % 300) for u in range(300) for step in (1, 2)} | {(900, 901)}
    befriend(mill, ring)
    run(mill, "recommendations", weighting="jaccard")
    befriend(mill, ring | {(30, 50)})
    told = run(mill, "recommendations", weighting="jaccard")["builds"]["recommendations"]
    incremental = both(mill)
    assert (told["build"], incremental[1][-20:][0][:3]) == ("partial", (901, 1, 30))
    assert run(mill, "recommendations", weighting="jaccard", full=True)["builds"]["recommendations"]["changed"] == 0
    assert both(mill) == incremental


def test_other_parameters_ask_for_a_full_build(mill, run):
    befriend(mill, RING)
    run(mill, "recommendations")
    assert run(mill, "recommendations", k=3)["builds"]["recommendations"]["why"] == "k was 20, is 3"


def test_after_a_rollback_the_next_run_is_a_full_build(mill, run):
    befriend(mill, RING)
    run(mill, "recommendations")
    run(mill, "recommendations", full=True)
    outputs.rollback(mill.engine, "recommendations", "2026-03-08T12:00:00Z")
    told = run(mill, "recommendations")["builds"]["recommendations"]
    assert (told["build"], told["why"]) == ("full", "version 3 is a rollback")
    assert run(mill, "recommendations")["builds"]["recommendations"]["build"] == "partial"


def test_a_full_build_comes_again_after_a_while(mill, run):
    befriend(mill, RING)
    run(mill, "recommendations")
    with write(mill.engine) as connection:
        connection.execute(text("UPDATE publications SET built_at = '2020-01-01T00:00:00Z'"))
    told = run(mill, "recommendations")["builds"]["recommendations"]
    assert told["why"] == "the last full build was on 2020-01-01T00:00:00Z, over 7d ago"
    assert run(mill, "recommendations", rebuild="")["builds"]["recommendations"]["build"] == "partial"


def test_a_job_of_ones_own_builds_on_what_it_left(mill, run):
    run(mill, "double")
    told = run(mill, "double", upto=7)["builds"]["doubles"]
    assert (told["build"], told["why"], told["changed"]) == ("partial", "more", 2)
    assert published(mill, "doubles") == [(n, 2 * n) for n in range(7)]


def test_lists_replaced_by_somebody_else_are_built_again(mill, run):
    run(mill, "double")
    run(mill, "refresh")
    assert published(mill, "doubles") == [(0, 0), (1, 2), (2, 4), (3, 0)]
    run(mill, "double")
    assert published(mill, "doubles") == [(n, 2 * n) for n in range(5)]
    assert run(mill, "double")["builds"]["doubles"]["changed"] == 0


def test_lists_replaced_while_a_run_was_at_work_are_built_again_by_the_next(mill, run, monkeypatch):
    run(mill, "double")
    begin = outputs.Build.begin

    def overtaken(build):
        monkeypatch.setattr(outputs.Build, "begin", begin)
        run(mill, "refresh")
        begin(build)

    monkeypatch.setattr(outputs.Build, "begin", overtaken)
    run(mill, "double", upto=6)
    assert published(mill, "doubles") == [(0, 0), (1, 2), (2, 4), (3, 0), (5, 10)]
    run(mill, "double", upto=6)
    assert published(mill, "doubles") == [(n, 2 * n) for n in range(6)]


def test_an_attempt_that_never_committed_leaves_nothing_to_build_on(mill, run, monkeypatch):
    run(mill, "double")

    def broken(*_, **__):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(mill.ledger, "finish", broken)
        assert run(mill, "double", upto=9) == "RuntimeError: killed"
    run(mill, "double", upto=7)
    assert published(mill, "doubles") == [(n, 2 * n) for n in range(7)]


def test_a_version_published_without_a_basis_is_none(mill, run):
    run(mill, "double")
    with write(mill.engine) as connection:
        connection.execute(text("DELETE FROM output_state"))
    assert run(mill, "double")["builds"]["doubles"]["why"] == "version 1 did not tell what it was made from"


def test_a_basis_is_kept_for_who_looks_for_one(mill, run):
    assert run(mill, "careless") == "output doubles: a basis is kept for who looks for one; call ctx.basis before"


def rate(mill, rows):
    users, products, values = zip(
        *sorted((user, product, value) for (user, product), value in rows.items()), strict=True
    )
    columns = {"user_id": list(users), "product_id": list(products), "value": list(values)}
    load_columns(mill.engine, "ratings", columns, replace=True)


def test_similar_products_are_built_where_a_rating_can_have_changed_them(mill, run):
    rows = {(g * 10 + u, g * 10 + p): float(1 + (u * p) % 5) for g in range(20) for u in range(5) for p in range(4)}
    rate(mill, rows)
    assert run(mill, "similarity", weighting="cosine")["builds"]["similar"]["why"] == "nothing was published yet"
    rate(mill, {**rows, (31, 32): 4.5, (33, 999): 1.0})
    told = run(mill, "similarity", weighting="cosine")["builds"]["similar"]
    assert told["build"] == "full"
    assert told["why"] == "81 changes reach 100% of the work"
    rate(mill, {**rows, (31, 32): 5.0, (33, 999): 1.0})
    run(mill, "similarity", weighting="cosine")
    rate(mill, {**rows, (31, 32): 4.0})
    told = run(mill, "similarity", weighting="cosine")["builds"]["similar"]
    assert (told["build"], told["why"]) == ("partial", "2 changes reach 4 of 80 lists")
    incremental = published(mill, "similar")
    assert run(mill, "similarity", weighting="cosine", full=True)["builds"]["similar"]["changed"] == 0
    assert published(mill, "similar") == incremental
