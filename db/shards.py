"""The shards of a run: runs of their own, each a range of the rows of one file.

They are recorded under the fence of the run that they are parts of, and end with it at the latest. What sets them apart
from other runs of their job is `shard_of`: no overlap holds them back, no other job is triggered by them, and nobody
takes them for slots. Their keys are `s:<run>:<digest of the file>:<number>:<time>`: whoever divides the same file
again finds what is done already; the time counts up where a shard has to be done once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from db import engine as transactions
from db import statements as sql
from db.lease_clock import AHEAD_US, LeaseClock
from db.ledger import own
from db.run import Claim
from db.tables import Record, runs

#: Of the digest so much stands in the key: it tells the files of one run apart, no more.
DIGITS = 16


@dataclass(frozen=True)
class Part:
    """Shard `number` of a file; `time` counts from 0."""

    number: int
    first: int
    last: int
    time: int = 0


def key(run_id: int, digest: str, part: Part) -> str:
    return f"{_prefix(run_id, digest)}{part.number}:{part.time}"


def _prefix(run_id: int, digest: str) -> str:
    return f"s:{run_id}:{digest[:DIGITS]}:"


def number_of(row: Record) -> tuple[int, int]:
    """(number, time) of a shard's row."""
    number, time = str(row.slot_key).split(":")[-2:]
    return int(number), int(time)


def record(
    engine: Engine, claim: Claim, digest: str, parts: Sequence[Part], params: Mapping[int, str], now_us: int
) -> None:
    """Makes these parts of the claimed run's work known to every worker, those of another file no longer wanted.

    `params`: of each part's number what its row holds, JSON. Raises Fenced when the run was claimed again.
    """

    def work(connection: Connection) -> None:
        run = own(connection, claim)
        others = {"run": claim.run_id, "but": f"{_prefix(claim.run_id, digest)}%"}
        values = {**others, "because": "the data is another one now", "at": now_us}
        connection.execute(sql.END_SHARDS_ATTEMPTS, values)
        connection.execute(sql.END_SHARDS, values)
        connection.execute(sql.DIVIDE, {"run": claim.run_id, "seen": claim.fence, "parts": len(params)})
        rows = [_row(run, key(claim.run_id, digest, part), params[part.number], now_us) for part in parts]
        if rows:
            connection.execute(sql.insert_ignore(connection, runs), rows)

    transactions.in_write(engine, work)


def _row(run: Record, slot_key: str, params: str, now_us: int) -> dict[str, object]:
    return {
        "job": run.job,
        "slot_key": slot_key,
        "slot_us": None,
        "slot_last_us": run.slot_last_us,
        "slot_count": 1,
        "trigger": "shard",
        "state": "queued",
        "priority": run.priority,
        "params_json": params,
        "forced": run.forced,
        # It is as late as the run that waits for it.
        "due_us": min(run.due_us, now_us),
        "created_us": now_us,
        "shard_of": run.run_id,
    }


def of_run(engine: Engine, clock: LeaseClock, run_id: int, digest: str, now_us: int) -> list[Record]:
    """The rows of one file's shards, of each number the latest, and whether each is `free` to be claimed."""
    with transactions.look(engine) as connection:
        values = {
            "run": run_id,
            "now": now_us,
            "ahead": now_us + AHEAD_US,
            "lost_before": clock.now(connection),
            "boot": clock.boot_id,
        }
        rows = connection.execute(sql.SHARDS, values).all()
    latest: dict[int, Record] = {}
    for row in rows:
        if str(row.slot_key).startswith(_prefix(run_id, digest)):
            latest[number_of(row)[0]] = row
    return [latest[number] for number in sorted(latest)]
