"""Several processes reach for the same slots: one moves the cursor, one claims, one commits."""

import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from db.engine import open_engine, read, write
from db.ledger import Ledger
from db.run import Claim, Ending, NewRun, Terms

ROOT = Path(__file__).parents[2]
ROUNDS = 25
RACER = """
import json, sys
from sqlalchemy import text
from db.engine import open_engine
from db.ledger import Ledger
from db.run import Claim, Ending, NewRun, Terms

engine = open_engine(sys.argv[1])
ledger = Ledger(engine, sys.argv[2] * 36, "here")
print("ready", flush=True)
sys.stdin.readline()
moved = claimed = 0
for slot in range(1, int(sys.argv[3]) + 1):
    row = NewRun(f"c:{slot:03}", "schedule", "queued", slot, slot_us=slot)
    moved += ledger.advance("mill", "h1", slot - 1, slot, [row], slot)
    run = ledger.run_of_key("mill", row.slot_key)
    claim = ledger.claim(run.run_id, Terms(overlap="allow"), slot)
    if isinstance(claim, Claim):
        claimed += 1
        effect = text("INSERT INTO effects VALUES (:run)").bindparams(run=claim.run_id)
        ledger.finish(claim, Ending("succeeded"), slot, lambda connection: connection.execute(effect))
    else:
        assert claim in ("taken", "done"), claim
print(json.dumps({"moved": moved, "claimed": claimed}))
"""


@pytest.fixture
def ledger(database):
    held = Ledger(database, "z" * 36, "here")
    held.activate("mill", "{}", "h1", cursor_us=0, now_us=0)
    return held


def racer(url, name):
    command = [sys.executable, "-c", RACER, url, name, str(ROUNDS)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_race_for_slots_share_them(ledger, database_url):
    with write(ledger.engine) as connection:
        connection.exec_driver_sql("CREATE TABLE effects (run_id BIGINT)")
    racers = [racer(database_url, name) for name in "abc"]
    for process in racers:
        assert process.stdout.readline() == "ready\n"
    for process in racers:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [json.loads(process.communicate(timeout=100)[0]) for process in racers]
    assert [process.returncode for process in racers] == [0, 0, 0]
    assert (sum(t["moved"] for t in told), sum(t["claimed"] for t in told)) == (ROUNDS, ROUNDS)
    runs = ledger.runs(limit=1000)
    assert [(run.slot_us, run.state, run.attempt, run.fence) for run in reversed(runs)] == [
        (slot, "succeeded", 1, 1) for slot in range(1, ROUNDS + 1)
    ]
    with read(ledger.engine) as connection:
        effects = connection.execute(text("SELECT run_id FROM effects")).scalars().all()
    assert sorted(effects) == sorted(run.run_id for run in runs)
    assert ledger.job("mill").cursor_us == ROUNDS


def at_once(*actions):
    """Does these at one moment, each in a thread of its own; what each came to."""
    barrier, came = threading.Barrier(len(actions)), {}

    def do(place, action):
        barrier.wait()
        came[place] = action()

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [came[place] for place in range(len(actions))]


@pytest.fixture
def rivals(ledger, database_url):
    engines = [open_engine(database_url) for _ in range(4)]
    yield [Ledger(engine, name * 36, "here") for engine, name in zip(engines, "abcd", strict=True)]
    for engine in engines:
        engine.dispose()


def test_an_orphan_is_rescued_once(ledger, rivals):
    for key in range(8):
        run = ledger.record("mill", NewRun(f"c:{key}", "schedule", "queued", 0), 0)
        stale = ledger.claim(run.run_id, Terms(), 0)
        with write(ledger.engine) as connection:
            connection.execute(text("UPDATE runs SET lease_us = 1 WHERE state = 'running'"))
        found = at_once(*[partial(rival.claim, stale.run_id, Terms(), 1) for rival in rivals])
        (fresh,) = [claim for claim in found if isinstance(claim, Claim)]
        assert (fresh.fence, [claim for claim in found if claim is not fresh]) == (2, ["taken"] * 3)
        rivals["abcd".index(fresh.owner[0])].finish(fresh, Ending("succeeded"), 2)


def test_runs_that_must_not_overlap_do_not(ledger, rivals):
    for key in range(8):
        rows = [ledger.record("mill", NewRun(f"c:{key}.{n}", "schedule", "queued", 0), 0) for n in range(4)]
        pairs = zip(rivals, rows, strict=True)
        found = at_once(*[partial(rival.claim, row.run_id, Terms("skip"), 1) for rival, row in pairs])
        (claim,) = [claim for claim in found if isinstance(claim, Claim)]
        assert found.count("skipped") == 3
        ledger.cancel(claim.run_id, 2)
        rivals["abcd".index(claim.owner[0])].finish(claim, Ending("cancelled"), 2)


def test_a_new_lease_has_one_holder(ledger, rivals):
    for number in range(12):
        taken = at_once(*[partial(rival.lease, f"lease {number}", 30) for rival in rivals])
        assert taken.count(True) == 1


def test_one_slot_asked_for_at_once_is_one_run(ledger, rivals):
    for number in range(12):
        row = NewRun(f"c:{number}", "cron", "queued", 0, slot_us=number)
        found = at_once(*[partial(rival.record, "mill", row, 0) for rival in rivals])
        assert len({run.run_id for run in found}) == 1
