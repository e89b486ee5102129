"""Throwing away what the ledger no longer needs, a few rows a transaction."""

from sqlalchemy import Connection, Engine, select

from db import engine as transactions
from db.statements import TERMINAL
from db.tables import attempts, run_events, runs

#: Rows deleted in one transaction: a few milliseconds of lock.
BATCH = 500


def jobs(engine: Engine) -> list[str]:
    """The jobs of which there are ended runs: with very many jobs, most have none that could be old."""
    with transactions.read(engine) as connection:
        return list(connection.execute(select(runs.c.job).where(runs.c.state.in_(TERMINAL)).distinct()).scalars())


def prune_runs(engine: Engine, job: str, before_us: int, keep: int) -> tuple[int, list[str]]:
    """Deletes some ended runs of a job, with their attempts: those that ended before, and all but the newest `keep`.

    How many, and the names of their logs; 0 when none is left. Shards go before the run that they belong to. The run of
    the latest slot always stays: without it that slot would look as if nobody had accounted for it.
    """

    def work(connection: Connection) -> tuple[int, list[str]]:
        old = _old(connection, job, before_us, keep)
        # Shards first, some at a time: a run has them as long as it is there.
        shards = select(runs.c.run_id).where(runs.c.shard_of.in_(old)).limit(BATCH)
        ids = list(connection.execute(shards).scalars()) or old
        logs = connection.execute(select(attempts.c.log).where(attempts.c.run_id.in_(ids))).scalars().all()
        connection.execute(run_events.delete().where(run_events.c.run_id.in_(ids)))
        connection.execute(attempts.delete().where(attempts.c.run_id.in_(ids)))
        connection.execute(runs.delete().where(runs.c.run_id.in_(ids)))
        return len(ids), [log for log in logs if log]

    return transactions.in_write(engine, work)


def _old(connection: Connection, job: str, before_us: int, keep: int) -> list[int]:
    ended = select(runs.c.run_id).where(runs.c.job == job, runs.c.state.in_(TERMINAL), runs.c.shard_of.is_(None))
    newest = ended.order_by(runs.c.run_id.desc()).offset(keep).limit(1)
    bound = connection.execute(newest).scalar() or 0
    latest = select(runs.c.run_id).where(runs.c.job == job, runs.c.slot_us.is_not(None))
    spared = connection.execute(latest.order_by(runs.c.slot_us.desc()).limit(1)).scalar() or 0
    old = ended.where((runs.c.run_id <= bound) | (runs.c.ended_us < before_us), runs.c.run_id != spared)
    return list(connection.execute(old.order_by(runs.c.run_id).limit(BATCH)).scalars())


def logs(engine: Engine, job: str) -> list[str]:
    """The names of a job's logs, the newest first."""
    query = (
        select(attempts.c.log)
        .join(runs, runs.c.run_id == attempts.c.run_id)
        .where(runs.c.job == job, attempts.c.log.is_not(None))
        .order_by(attempts.c.run_id.desc(), attempts.c.attempt.desc())
    )
    with transactions.read(engine) as connection:
        return [str(log) for log in connection.execute(query).scalars()]
