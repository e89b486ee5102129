"""Daemons replaced one by one under load; those of this version beside those of the next."""

import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from checker import check, settle
from world import CHECKOUT, LEASE_S, Daemon, Watcher, World, wait_until, world

from db import migrate

MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{revision}", "{before}"


def upgrade():
    op.create_table("chaos", sa.Column("n", sa.Integer(), primary_key=True))
    for table in ("jobs", "runs", "attempts", "outputs", "publications", "leases"):
        op.add_column(table, sa.Column("chaos", sa.String(9), nullable=True))
"""
#: Beside the drain of running jobs (3 s at most here).
LEFT_S = 20.0


def restarts(kind: str, count: int) -> dict[str, Any]:
    """Each daemon in turn is told to leave, and another takes its place; no slot is late for it, no run is lost."""
    with world(kind) as made:
        made.start(3)
        slowest = 0.0
        with Watcher(made) as watcher:
            for n in range(count):
                made.start()
                slowest = max(slowest, _leave(made, made.daemons[0]))
                time.sleep(0.3 + n % 3)
            cut = settle(made, 60 + 6 * LEASE_S)
        found = check(made, cut)
        failed = _failed(made)
    found["violations"] += watcher.violations + failed
    if slowest > LEFT_S:
        found["violations"].append(f"a daemon took {slowest:.0f} s to leave")
    return found | {"restarts": count, "left_max_s": round(slowest, 1)}


def _leave(made: World, daemon: Daemon) -> float:
    began = time.monotonic()
    daemon.send(signal.SIGTERM)
    wait_until(lambda: not daemon.alive(), "the daemon's end", 60)
    made.daemons.remove(daemon)
    return time.monotonic() - began


def upgraded(kind: str, seconds: float) -> dict[str, Any]:
    """The version to come upgrades the tables under daemons of this one; its own come beside them and replace them."""
    with tempfile.TemporaryDirectory(prefix="chaos-next-") as folder, world(kind) as made:
        _make_next_version(Path(folder))
        before = _revision(made)
        made.start(2)
        made.wait_for_slots(4, 60)
        with Watcher(made) as watcher:
            told = made.run("db", "upgrade", PYTHONPATH=folder)
            after = _revision(made)
            made.start(2, PYTHONPATH=folder)
            began = [len(daemon.log.read_text().splitlines()) for daemon in made.daemons]
            by_hand = made.run("run", "quick", "--force")
            time.sleep(seconds)
            wait_until(lambda: _both(_worked(made, began)), "runs of both versions", 60)
            worked = _worked(made, began)
            for daemon in made.daemons[:2]:
                _leave(made, daemon)
            time.sleep(2)
            cut = settle(made, 60 + 6 * LEASE_S)
        found = check(made, cut)
        failed = _failed(made)
    found["violations"] += watcher.violations + failed
    if told.returncode or before == after or by_hand.returncode:
        found["violations"].append(f"not upgraded from {before}: {told.stdout} {told.stderr} {by_hand.stderr}")
    return found | {"from": before, "to": after, "runs_of_each": "+".join(map(str, worked))}


def _make_next_version(folder: Path) -> None:
    """This version with one migration more."""
    for part in ("clockmill", "db", "jobs", "tests/chaos/jobs"):
        shutil.copytree(CHECKOUT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "scheduler.py", folder)
    following = f"{int(migrate.HEAD) + 1:04}"
    file = folder / "db" / "migrate.py"
    file.write_text(file.read_text().replace(f'HEAD = "{migrate.HEAD}"', f'HEAD = "{following}"'))
    text = MIGRATION.format(revision=following, before=migrate.HEAD)
    (folder / "db" / "migrations" / "versions" / f"{following}_chaos.py").write_text(text)


def _worked(made: World, began: list[int]) -> list[int]:
    """How many runs each daemon has ended well since its log had so many lines."""
    logs = [daemon.log.read_text().splitlines() for daemon in made.daemons]
    return [str(log[lines:]).count("succeeded") for log, lines in zip(logs, began, strict=True)]


def _both(worked: list[int]) -> bool:
    return sum(worked[:2]) > 0 and sum(worked[2:]) > 0


def _failed(made: World) -> list[str]:
    """Attempts that did not succeed, though everybody was let finish."""
    rows = made.rows("SELECT run_id, attempt, state, reason FROM attempts WHERE state <> 'succeeded'")
    return [f"run {run}, attempt {attempt} is {state}: {reason}" for run, attempt, state, reason in rows]


def _revision(made: World) -> str:
    return str(made.rows("SELECT version_num FROM alembic_version")[0][0])
