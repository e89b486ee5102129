"""A run that divides its work: shards are runs of their own, done when file and row agree, and end with their run."""

import json
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from sqlalchemy import select

from clockmill import config
from clockmill.doors import activate, manual_run
from clockmill.executors import Order
from clockmill.housekeeping import House
from clockmill.mill import Mill
from clockmill.perform import perform
from clockmill.shard_files import Files
from clockmill.slots import micros
from db import outputs, retention, shards
from db.engine import read
from db.errors import Fenced
from db.run import Claim, Ending, Terms
from db.tables import runs

#: The job's pool has one place.
NARROW = Terms(pool="narrow", places=1)

JOBS = """
from pathlib import Path

import numpy as np

from clockmill import Context, Output, Shard, job

DOUBLED = Output("doubled", key="n", columns={"n": "id", "twice": "int", "pair": "int"})


def twice(shard: Shard):
    home = Path(shard.facts["home"])
    with (home / f"begun.{shard.number}").open("a") as file:
        file.write(".")
    if (home / f"fail.{shard.number}").exists():
        (home / f"fail.{shard.number}").unlink()
        raise ValueError("no luck")
    n = shard.arrays["n"][shard.first : shard.last]
    return {"twice": 2 * n, "pair": np.stack([n, -n], axis=1)}


@job(outputs=[DOUBLED], shard=twice, params={"shards": 4, "upto": 1000, "home": ""}, pool="narrow")
def doubled(ctx: Context) -> None:
    n = np.arange(ctx.params["upto"])
    parts = ctx.shards(ctx.params["shards"], {"n": n}, np.ones(len(n), np.int64), {"home": ctx.params["home"]})
    if (Path(ctx.params["home"]) / "stumble").exists():
        raise ValueError("stumbled behind its shards")
    empty = [np.zeros(0, np.int64)]
    ctx.publish("doubled", {
        "n": n,
        "twice": np.concatenate([*empty, *(part["twice"] for part in parts)]),
        "pair": np.concatenate([*empty, *(part["pair"][:, 1] for part in parts)]),
    })


@job(after="doubled")
def follower(ctx: Context) -> None:
    pass


@job(executor="thread", shard=twice)
def threaded(ctx: Context) -> None:
    ctx.shards(2, {}, [1, 1])


@job()
def plain(ctx: Context) -> None:
    ctx.shards(2, {}, [1, 1])
"""


@pytest.fixture
def mill(database_url, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "divided.py").write_text(JOBS)
    tables = {
        "database": {"url": database_url},
        "redis": {"url": "none"},
        "scheduler": {"job_folders": ["jobs"]},
        # One place for the run and its shards together: it gives its own up while it waits for them.
        "pools": {"narrow": 1},
    }
    held = Mill(config.merge(tmp_path, None, tables, {}))
    held.logs.mkdir(parents=True)
    yield held
    held.engine.dispose()


def altered(file):
    """One bit of the last byte but some is another one."""
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


def begun(mill):
    """How often each shard was worked at."""
    return [len(path.read_text()) for path in sorted(mill.config.home.glob("begun.*"))]


def rows_of(mill, *where):
    with read(mill.engine) as connection:
        return connection.execute(select(runs).where(*where).order_by(runs.c.run_id)).all()


def shown(mill):
    spec, row = outputs.find(mill.engine, "doubled")
    found = outputs.read_rows(mill.engine, spec, row.version)
    return {name: found[name].tolist() for name in ("n", "twice", "pair")}


def claimed(mill, run_id=None, **params):
    """A claim of a new run, or of the next attempt of one, as its worker has it."""
    spec, now = mill.registry.get("doubled"), mill.now()
    if run_id is None:
        run_id = manual_run(mill, spec, {"home": str(mill.config.home), **params}, forced=True, now=now)
    claim = mill.ledger.claim(run_id, NARROW, micros(now))
    assert isinstance(claim, Claim)
    return claim


def carry_out(mill, claim):
    """What becomes of the attempt, whose process this is: "" or the reason why it failed, after which one follows."""
    told = {}
    order = Order(claim.run_id, claim.job, claim.attempt, claim.fence, "log", 60, asdict(claim))
    if perform(mill, order, told.update) == 0:
        return ""
    again = Ending("retry_wait", told["reason"], due_us=claim_time(mill), attempt="failed")
    mill.ledger.finish_all([(claim, again)], claim_time(mill))
    return told["reason"]


def claim_time(mill):
    return micros(mill.now())


def divided(mill, claim, value=0):
    """Divides a claimed run's work into three, as its process would; the shards' rows."""
    files, n = Files(mill, claim.run_id), np.arange(9) + value
    digest = files.keep_data({"home": str(mill.config.home)}, {"n": n})
    parts = [shards.Part(number, number * 3, number * 3 + 3) for number in range(3)]
    params = {
        part.number: json.dumps(
            {"number": part.number, "count": 3, "first": part.first, "last": part.last, "data": digest}
        )
        for part in parts
    }
    shards.record(mill.engine, claim, digest, parts, params, claim_time(mill))
    return [row for row in mill.ledger.shards(claim.run_id) if digest[:16] in row.slot_key]


def test_a_run_that_nobody_helps_works_at_all_its_shards(mill, run):
    report = run(mill, "doubled", home=str(mill.config.home))
    assert (report["rows_out"], begun(mill)) == (1000, [1, 1, 1, 1])
    n = list(range(1000))
    assert shown(mill) == {"n": n, "twice": [2 * i for i in n], "pair": [-i for i in n]}
    states = [(row.state, row.attempt, row.trigger) for row in rows_of(mill, runs.c.shard_of.is_not(None))]
    assert states == [("succeeded", 1, "shard")] * 4
    assert list(mill.shard_folder.iterdir()) == []


@pytest.mark.parametrize(("upto", "count", "made"), [(0, 4, 0), (1, 4, 1), (3, 1000, 3), (5, 1, 1)])
def test_there_are_no_more_shards_than_rows(mill, run, upto, count, made):
    assert run(mill, "doubled", home=str(mill.config.home), upto=upto, shards=count)["rows_out"] == upto
    assert len(rows_of(mill, runs.c.shard_of.is_not(None))) == made


def test_shards_are_no_runs_of_their_job_to_anybody_who_asks(mill):
    activate(mill, mill.registry.get("follower"), mill.now())
    claim = claimed(mill)
    assert carry_out(mill, claim) == ""
    assert [row.run_id for row in mill.ledger.runs("doubled")] == [claim.run_id]
    assert len(mill.ledger.shards(claim.run_id)) == 4
    # One end, one run of the job that comes after; those of four shards trigger nothing.
    assert len(rows_of(mill, runs.c.job == "follower")) == 1


def test_a_shard_begins_beside_its_run_whose_place_in_the_pool_it_takes(mill):
    claim = claimed(mill)
    first, second, _ = divided(mill, claim)
    now = claim_time(mill)
    looked = [row.run_id for row in mill.ledger.claimable(now, 10, resting=["doubled"])]
    assert looked == [row.run_id for row in mill.ledger.shards(claim.run_id)]
    assert isinstance(mill.ledger.claim(first.run_id, NARROW, now), Claim)
    assert mill.ledger.claim(second.run_id, NARROW, now) == "waits"


def test_the_next_run_of_the_job_overlaps_with_the_run_and_not_with_its_shards(mill):
    claim = claimed(mill)
    divided(mill, claim)
    following = manual_run(mill, mill.registry.get("doubled"), {}, forced=False, now=mill.now())
    assert mill.ledger.claim(following, Terms(), claim_time(mill)) == "skipped"
    assert mill.ledger.run(following).reason == f"overlap: run {claim.run_id} is running"


def test_shards_end_with_their_run_and_nothing_of_them_counts_any_more(mill):
    claim = claimed(mill)
    working, _, _ = divided(mill, claim)
    held = mill.ledger.claim(working.run_id, NARROW, claim_time(mill))
    mill.ledger.finish_all([(claim, Ending("cancelled", "by a person"))], claim_time(mill))
    rows = mill.ledger.shards(claim.run_id)
    assert {(row.state, row.reason) for row in rows} == {
        ("cancelled", f"run {claim.run_id}, whose shard it is, is cancelled")
    }
    assert [row.state for row in mill.ledger.attempts(working.run_id)] == ["cancelled"]
    (late,) = mill.ledger.finish_all([(held, Ending("succeeded"))], claim_time(mill))
    assert late.state == "cancelled"


def test_a_failed_shard_fails_the_attempt_and_is_alone_done_again(mill):
    claim = claimed(mill)
    (mill.config.home / "fail.2").touch()
    reason = carry_out(mill, claim)
    assert (reason.startswith("shard 3 of 4 (run "), reason.endswith("failed: ValueError: no luck")) == (True, True)
    assert carry_out(mill, claimed(mill, claim.run_id)) == ""
    assert (begun(mill), len(shown(mill)["n"])) == ([1, 1, 2, 1], 1000)


@pytest.mark.parametrize("harm", [lambda f: f.unlink(), lambda f: os.truncate(f, f.stat().st_size // 2), altered])
def test_a_shard_whose_file_is_not_what_its_row_says_is_alone_done_again(mill, harm):
    claim = claimed(mill)
    (mill.config.home / "stumble").touch()
    assert carry_out(mill, claim).endswith("stumbled behind its shards")
    (mill.config.home / "stumble").unlink()
    second = mill.ledger.shards(claim.run_id)[1]
    harm(mill.shard_folder / str(claim.run_id) / f"{second.run_id}.{second.fence}")
    assert carry_out(mill, claimed(mill, claim.run_id)) == ""
    n = list(range(1000))
    assert (begun(mill), shown(mill)["twice"]) == ([1, 2, 1, 1], [2 * i for i in n])
    # What had succeeded stays so: another run did that shard once more.
    assert [row.state for row in mill.ledger.shards(claim.run_id)] == ["succeeded"] * 5


def test_shards_of_data_that_changed_meanwhile_are_ended(mill):
    claim = claimed(mill)
    old = divided(mill, claim)
    new = divided(mill, claim, value=1)
    states = {row.run_id: row.state for row in mill.ledger.shards(claim.run_id)}
    assert [states[row.run_id] for row in old] == ["cancelled"] * 3
    assert [states[row.run_id] for row in new] == ["queued"] * 3


def test_nothing_is_divided_under_an_old_fence(mill):
    claim = claimed(mill)
    with pytest.raises(Fenced):
        divided(mill, replace(claim, fence=claim.fence - 1))
    assert mill.ledger.shards(claim.run_id) == []


def test_shards_are_thrown_away_with_their_run(mill):
    old = claimed(mill)
    assert carry_out(mill, old) == ""
    young = claimed(mill)
    assert carry_out(mill, young) == ""
    gone = [retention.prune_runs(mill.engine, "doubled", 0, keep=1) for _ in range(3)]
    assert [(count, len(logs)) for count, logs in gone] == [(4, 4), (1, 1), (0, 0)]
    assert {row.shard_of for row in rows_of(mill, runs.c.job == "doubled")} == {None, young.run_id}


def test_house_is_kept_of_files_whose_run_has_ended(mill):
    ended = claimed(mill)
    divided(mill, ended)
    living = claimed(mill)
    divided(mill, living)
    mill.ledger.finish_all([(ended, Ending("failed", "for the test"))], claim_time(mill))
    House(mill).keep()
    assert [folder.name for folder in mill.shard_folder.iterdir()] == [str(living.run_id)]


def test_a_worker_that_does_not_see_the_file_says_where_it_looked(mill):
    claim = claimed(mill)
    part = divided(mill, claim)[0]
    shutil.rmtree(mill.shard_folder)
    reason = carry_out(mill, claimed(mill, part.run_id))
    assert reason.startswith(f"{mill.shard_folder / str(claim.run_id) / 'data.'}")
    assert f"is not there on host {mill.host}" in reason
    assert "[scheduler] shard_folder" in reason


@pytest.mark.parametrize(
    ("job", "wanted"), [("plain", "@job(shard=...)"), ("threaded", 'executor = "process" or "celery"')]
)
def test_a_job_that_cannot_be_divided_says_what_is_missing(mill, run, job, wanted):
    assert run(mill, job) == f"job {job} cannot be divided into shards: that needs {wanted}"


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_number_of_shards_has_its_bounds(mill, run, count):
    assert run(mill, "doubled", shards=count) == f"job doubled: {count} shards; allowed: 1 to 1000"
