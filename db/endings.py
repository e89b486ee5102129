"""The end of a run, and the runs of other jobs that it triggers: one transaction, whoever ends it and however.

A job that runs after others and has no schedule is triggered when all of them (or any) have ended since it was last
triggered. Runs that were never started (skipped, missed, coalesced) trigger nothing.
"""

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from db import statements as sql
from db.run import Ending
from db.tables import Record, runs

NEVER_STARTED = ("skipped", "missed", "coalesced")
MATCHES = {
    "success": ("succeeded",),
    "failure": ("failed", "timed_out", "cancelled", "lost", "upstream_failed"),
    "any": sql.TERMINAL,
}


def end_attempts(connection: Connection, ended: Sequence[tuple[int, int, Ending]], now_us: int) -> None:
    """Writes how attempts ended: (run, fence, ending) of each."""
    rows = [
        {
            "run": run_id,
            "seen": fence,
            "became": ending.attempt or ending.state,
            "because": ending.reason,
            "code": ending.exit_code,
            "by_signal": ending.signal,
            "at": now_us,
        }
        for run_id, fence, ending in ended
    ]
    if rows:
        connection.execute(sql.END_ATTEMPT, rows)


def end_runs(connection: Connection, ended: Sequence[tuple[Record, Ending]], now_us: int) -> None:
    """Ends the runs, or lets them wait for their next attempts. Each comes with its row as it was locked."""
    if not ended:
        return
    connection.execute(sql.END_RUN, [_end(run, ending, now_us) for run, ending in ended])
    for run, ending in ended:
        if run.shards and ending.state != "retry_wait":
            _end_shards(connection, run.run_id, ending.state, now_us)
        if run.shard_of is None and run.followed and ending.state != "retry_wait" and ending.state not in NEVER_STARTED:
            for job, state in connection.execute(sql.FOLLOWERS, {"upstream": run.job}).all():
                _trigger(connection, job, state == "broken", run, ending, now_us)


def _end_shards(connection: Connection, run_id: int, state: str, now_us: int) -> None:
    values = {"run": run_id, "but": "", "because": f"run {run_id}, whose shard it is, is {state}", "at": now_us}
    connection.execute(sql.END_SHARDS_ATTEMPTS, values)
    connection.execute(sql.END_SHARDS, values)


def _end(run: Record, ending: Ending, now_us: int) -> dict[str, object]:
    waits = ending.state == "retry_wait"
    return {
        "run": run.run_id,
        "became": ending.state,
        "because": ending.reason,
        "due": ending.due_us if waits else None,
        "at": None if waits else now_us,
        "code": ending.exit_code,
        "by_signal": ending.signal,
        "one_lost": int(waits and ending.attempt == "lost"),
        "report": json.dumps(dict(ending.report)) if ending.report else None,
        "share": 1.0 if ending.state == "succeeded" else None,
    }


def _trigger(connection: Connection, job: str, broken: bool, run: Record, ending: Ending, now_us: int) -> None:
    edges = connection.execute(sql.LOCK_EDGES, {"follower": job}).all()
    ended = {edge.upstream: (edge.ended_run, edge.ended_state) for edge in edges} | {
        run.job: (run.run_id, ending.state)
    }
    edge = edges[0]
    state = verdict(edge.needs, edge.outcome, {name: state for name, (_, state) in ended.items()})
    if state is None:
        values = {"follower": job, "of": run.job, "last_run": run.run_id, "last_state": ending.state}
        connection.execute(sql.NOTE_END, values)
        return
    connection.execute(sql.FORGET_ENDS, {"follower": job})
    reason = because(ended, edge.outcome) if state != "queued" else None
    if broken and state == "queued":
        state, reason = "skipped", "the job is broken"
    connection.execute(sql.insert_ignore(connection, runs), _triggered(edge, run, state, reason, now_us))


def _triggered(edge: Record, run: Record, state: str, reason: str | None, now_us: int) -> dict[str, object]:
    return {
        "job": edge.job,
        "slot_key": f"a:{run.run_id}",
        # Of the run that triggered it: what runs after this job in turn finds it by that.
        "slot_us": run.slot_us,
        "slot_last_us": run.slot_us,
        "slot_count": 1,
        "trigger": "after",
        "state": state,
        "reason": reason,
        "priority": edge.priority,
        "order_key": edge.order_key,
        "due_us": now_us,
        "created_us": now_us,
        "ended_us": now_us if state in sql.TERMINAL else None,
    }


def verdict(needs: str, outcome: str, states: Mapping[str, str | None]) -> str | None:
    """What becomes of a run after these jobs: queued, or the state it ends in unstarted; None: it waits.

    `states`: how the run of each job has ended, None for one that has not.
    """
    matching = [state in MATCHES[outcome] for state in states.values()]
    if needs == "any" and any(matching):
        return "queued"
    if None in states.values():
        return None
    if needs == "all" and all(matching):
        return "queued"
    return "upstream_failed" if outcome == "success" else "skipped"


def because(ended: Mapping[str, tuple[int | None, str | None]], outcome: str) -> str:
    """Which runs did not end as they should: `after weather: run 7 failed`."""
    others = [(name, run, state) for name, (run, state) in ended.items() if state not in MATCHES[outcome]]
    return "; ".join(
        f"after {name}: run {run} {state}" if run else f"after {name}: {state}" for name, run, state in others
    )
