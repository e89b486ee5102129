"""The tables of the ledger. Instants are BIGINT microseconds UTC: MySQL loses them otherwise, SQLite has no type.

    jobs ──< runs ──< attempts          outputs ──< publications, output_state    leases             gates
    what is scheduled, up to where      what is current, and what was             who keeps house    rows to lock
      └──< followers: jobs without a schedule, triggered by the ends of others

Run states and what leads to each:

    scheduled    a slot was accounted for; its jitter has not passed yet
    queued       due, waiting for a worker
    running      claimed under a fence; the lease says until when its owner is believed alive
    retry_wait   an attempt failed or was lost, the next one is due at due_us
    succeeded failed timed_out cancelled lost                      ended after running
    skipped missed coalesced upstream_failed                       never started; `reason` says why

Output tables are made when a job first publishes (db.outputs), canonical ones when a file is first loaded (db.load).
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

#: A row of a query, its columns by name.
Record = Row[*tuple[Any, ...]]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

# Dialects are not imported here: each costs a cron line more than the run that it starts.

#: SQLite gives out row numbers only for INTEGER PRIMARY KEY.
Number = BigInteger().with_variant(Integer(), "sqlite")
Micros = BigInteger()
Name = String(64)


class Long(TypeDecorator[str]):
    """A text of up to 16 MB: MySQL's TEXT ends at 64 KB, which a configuration or a list of reasons may pass."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name not in ("mysql", "mariadb"):
            return Text()
        from sqlalchemy.dialects import mysql

        return mysql.MEDIUMTEXT()


class Bytes(TypeDecorator[bytes]):
    """The same for bytes: MySQL's BLOB ends at 64 KB."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name not in ("mysql", "mariadb"):
            return LargeBinary()
        from sqlalchemy.dialects import mysql

        return mysql.MEDIUMBLOB()


#: Keys compare bytewise everywhere; MySQL's default collation would make "A" and "a" one slot.
Key = String(191).with_variant(String(191, collation="utf8mb4_bin"), "mysql", "mariadb")

Pattern = String(255).with_variant(String(255, collation="utf8mb4_bin"), "mysql", "mariadb")

jobs = Table(
    "jobs",
    metadata,
    Column("name", Key, primary_key=True),
    Column("spec_json", Long, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    #: enabled | paused | broken (its code cannot be found or imported; `reason` says what happened)
    Column("state", String(16), nullable=False),
    Column("reason", Long),
    #: No slot up to here is unaccounted for. Grows only, in the transaction of the rows it accounts for.
    Column("cursor_us", Micros, nullable=False),
    Column("created_us", Micros, nullable=False),
    Column("activated_us", Micros, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Number, primary_key=True, autoincrement=True),
    Column("job", Key, nullable=False),
    Column("slot_key", Key, nullable=False),
    Column("slot_us", Micros),
    #: Rows of consecutive slots that were not run: the last one, and how many. Of a run that does a slot again, whose
    #: slot_us is null: that slot.
    Column("slot_last_us", Micros),
    Column("slot_count", Integer, nullable=False, default=1),
    #: schedule | cron | manual | retry | backfill | reboot | after | event | shard
    Column("trigger", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Long),
    Column("priority", Integer, nullable=False, default=0),
    #: Who may claim it; null: any worker that knows the job. A manual run belongs to the process that asked.
    Column("reserved_for", String(36)),
    Column("params_json", Long, nullable=False, default="{}"),
    #: Runs with one such key never overlap and begin in the order of their numbers; null: no order.
    Column("order_key", Key),
    #: The pool whose place it takes while it runs; set by the claim.
    Column("pool", Key),
    #: Given with --force: neither overlap nor pause holds it back.
    Column("forced", Integer, nullable=False, default=0),
    #: Not claimed before this instant (jitter, backoff).
    Column("due_us", Micros, nullable=False),
    Column("created_us", Micros, nullable=False),
    #: The highest attempt number given out, and how many of those were lost.
    Column("attempt", Integer, nullable=False, default=0),
    Column("lost", Integer, nullable=False, default=0),
    Column("fence", BigInteger, nullable=False, default=0),
    Column("owner", String(36)),
    Column("lease_us", Micros),
    #: The boot under which lease_us counts, on SQLite; null where the database's clock decides.
    Column("boot_id", String(36)),
    Column("cancel_asked", Integer, nullable=False, default=0),
    Column("retry_of", BigInteger),
    Column("coalesced_into", BigInteger),
    #: A shard: the run whose work it is a part of. And of that run: into how many shards its work is divided; 0: none.
    Column("shard_of", BigInteger),
    Column("shards", Integer, nullable=False, server_default="0"),
    Column("host", String(255)),
    Column("started_us", Micros),
    Column("ended_us", Micros),
    Column("exit_code", Integer),
    Column("signal", Integer),
    #: 0..1, with a few words beside it.
    Column("progress", Float),
    Column("note", Text),
    #: Rows in and out, seconds by phase, peak memory, versions: what `run --json` prints.
    Column("report_json", Long),
    UniqueConstraint("job", "slot_key"),
    #: Serves the claim: what is due or expired, by state.
    Index("ix_runs_state_due", "state", "due_us"),
    #: Serves the search for the row of a slot.
    Index("ix_runs_job_slot", "job", "slot_us"),
    #: Serves `runs list --job` and the search for runs in the way (overlap).
    Index("ix_runs_job_state", "job", "state"),
    #: Serves the search for earlier runs with the same key.
    Index("ix_runs_order_key", "order_key", "run_id"),
    #: Serves whoever waits for a run's shards, and the end of that run.
    Index("ix_runs_shard_of", "shard_of"),
    sqlite_autoincrement=True,
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("fence", BigInteger, nullable=False),
    Column("owner", String(36), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer),
    #: Start time of that pid in clock ticks since boot: the pid alone may have been given out again.
    Column("pid_start", BigInteger),
    Column("started_us", Micros, nullable=False),
    Column("ended_us", Micros),
    #: running | succeeded | failed | timed_out | cancelled | lost
    Column("state", String(16), nullable=False),
    Column("reason", Long),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("log", String(255)),
)

outputs = Table(
    "outputs",
    metadata,
    Column("name", Key, primary_key=True),
    #: Key, columns, kinds as they were when its table was made.
    Column("spec_json", Long, nullable=False),
    #: The pointer: readers see rows with since <= version < until. 0: nothing published yet.
    Column("version", BigInteger, nullable=False, default=0),
    #: The last version number given out; an abandoned one is never used again.
    Column("allocated", BigInteger, nullable=False, default=0),
    #: The version whose rows are being written, invisible; only its writer may go on. Null: nobody writes.
    Column("building", BigInteger),
    #: The oldest version whose rows have not been thrown away.
    Column("kept_from", BigInteger, nullable=False, default=0),
    #: The version that Redis is known to hold whole.
    Column("mirrored", BigInteger, nullable=False, default=0),
)

publications = Table(
    "publications",
    metadata,
    Column("output", Key, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", BigInteger),
    Column("fence", BigInteger),
    #: full: the whole output was computed; partial: some keys only; rollback. Rollbacks go back to full ones.
    Column("build", String(16), nullable=False),
    #: Of a rollback: the full version whose content it has again.
    Column("restores", BigInteger),
    Column("rows", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("built_at", String(32), nullable=False),
    Column("config_digest", String(64), nullable=False),
)

#: What is kept beside a version for the one that follows (db.output_state): in force once the pointer is there.
output_state = Table(
    "output_state",
    metadata,
    Column("output", Key, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Key, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    #: How the bytes are read: a numpy dtype, or text.
    Column("kind", String(8), nullable=False),
    Column("content", Bytes, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Key, primary_key=True),
    Column("holder", String(36), nullable=False),
    Column("lease_us", Micros, nullable=False),
    Column("boot_id", String(36)),
)

#: Whoever decides about something that several jobs share (a pool, an order) locks its row first.
gates = Table("gates", metadata, Column("name", Key, primary_key=True))

#: For each job that runs after others and has no schedule: the others, and what their last runs came to.
followers = Table(
    "followers",
    metadata,
    Column("job", Key, primary_key=True),
    Column("upstream", Key, primary_key=True),
    #: all | any of the upstream jobs must have ended before the job is triggered
    Column("needs", String(8), nullable=False),
    #: success | failure | any: how they must have ended
    Column("outcome", String(8), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("order_key", Key),
    #: The upstream run that ended last, and how; null when the job was triggered since.
    Column("ended_run", BigInteger),
    Column("ended_state", String(16)),
    Index("ix_followers_upstream", "upstream"),
)

#: Which canonical tables are clockmill's own, and what they held after their last load.
canonical = Table(
    "canonical",
    metadata,
    Column("name", Key, primary_key=True),
    Column("kinds_json", Long, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    #: Drawn anew with every change where the database can see to that (SQLite); 0: unknown.
    Column("token", BigInteger, nullable=False, server_default="0"),
)

#: Events to be told, written by the transaction that they tell of, relayed in the order of their numbers.
outbox = Table(
    "outbox",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("event_id", Key, nullable=False, unique=True),
    Column("type", String(255), nullable=False),
    #: Events with one such key are told one after the other; null: no order.
    Column("order_key", Key),
    Column("body", Long, nullable=False),
    #: Of the body, in bytes: what is read at once is bounded by it.
    Column("size", Integer, nullable=False),
    #: 1: it waits until somebody wants it. 0: it may pass unheard.
    Column("kept", Integer, nullable=False, default=1),
    Column("run_id", BigInteger),
    Column("fence", BigInteger),
    Column("created_us", Micros, nullable=False),
    #: Not sent (again) before this instant.
    Column("due_us", Micros, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    #: Why the broker would not have it, the last time.
    Column("problem", Long),
    #: When the broker answered for it; null: it has not.
    Column("published_us", Micros),
    #: Serves the relay: what is due of what was not sent; and the pruning of the rest.
    Index("ix_outbox_published_due", "published_us", "due_us", "seq"),
    sqlite_autoincrement=True,
)

#: Events that have had their effect, by consumer: written by the transaction of that effect.
inbox = Table(
    "inbox",
    metadata,
    Column("consumer", Key, primary_key=True),
    Column("event", Key, primary_key=True),
    #: Names the transaction that wrote the row: two that come at once see who was first.
    Column("token", String(48), nullable=False),
    Column("at_us", Micros, nullable=False),
    Index("ix_inbox_at_us", "at_us"),
)

#: What jobs and handlers count (ctx.counter); the counters job publishes it with the rest.
tallies = Table(
    "tallies",
    metadata,
    Column("name", Key, primary_key=True),
    Column("key", Key, primary_key=True),
    Column("value", Double, nullable=False),
    Column("as_of_us", Micros, nullable=False),
)

#: The events that a run is about, in the order they came.
run_events = Table(
    "run_events",
    metadata,
    Column("run_id", BigInteger, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("body", Long, nullable=False),
)

#: What went through a queue in a few seconds, as one process saw it; old rows are thrown away.
flows = Table(
    "flows",
    metadata,
    Column("queue", Key, primary_key=True),
    Column("owner", String(36), primary_key=True),
    Column("at_us", Micros, primary_key=True, autoincrement=False),
    #: Seconds that the row tells of.
    Column("seconds", Float, nullable=False),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("dead", Integer, nullable=False),
    #: Seconds of work on these, and how many could be worked on at once.
    Column("busy_s", Float, nullable=False),
    Column("hands", Integer, nullable=False),
    #: Messages that waited in the queue at the end, and how long the last one taken had waited; null: not known.
    Column("depth", Integer),
    Column("lag_s", Float),
    Index("ix_flows_at_us", "at_us"),
)

#: Which queues were bound to which types of events, so that what is wanted no more can be unbound.
bindings = Table(
    "bindings",
    metadata,
    Column("queue", Key, primary_key=True),
    Column("pattern", Pattern, primary_key=True),
)
