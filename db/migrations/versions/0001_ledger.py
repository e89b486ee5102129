"""The ledger, the outputs' catalogue and the canonical tables' registry."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

KEY = sa.String(191).with_variant(mysql.VARCHAR(191, collation="utf8mb4_bin"), "mysql", "mariadb")
LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
NUMBER = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("pid_start", sa.BigInteger(), nullable=True),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", LONG, nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("log", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "canonical",
        sa.Column("name", KEY, nullable=False),
        sa.Column("kinds_json", LONG, nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_canonical")),
    )
    op.create_table(
        "followers",
        sa.Column("job", KEY, nullable=False),
        sa.Column("upstream", KEY, nullable=False),
        sa.Column("needs", sa.String(length=8), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("order_key", KEY, nullable=True),
        sa.Column("ended_run", sa.BigInteger(), nullable=True),
        sa.Column("ended_state", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("job", "upstream", name=op.f("pk_followers")),
    )
    op.create_index("ix_followers_upstream", "followers", ["upstream"], unique=False)
    op.create_table(
        "gates", sa.Column("name", KEY, nullable=False), sa.PrimaryKeyConstraint("name", name=op.f("pk_gates"))
    )
    op.create_table(
        "jobs",
        sa.Column("name", KEY, nullable=False),
        sa.Column("spec_json", LONG, nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", LONG, nullable=True),
        sa.Column("cursor_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("activated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_jobs")),
    )
    op.create_table(
        "leases",
        sa.Column("name", KEY, nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("lease_us", sa.BigInteger(), nullable=False),
        sa.Column("boot_id", sa.String(length=36), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "outputs",
        sa.Column("name", KEY, nullable=False),
        sa.Column("spec_json", LONG, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("allocated", sa.BigInteger(), nullable=False),
        sa.Column("building", sa.BigInteger(), nullable=True),
        sa.Column("kept_from", sa.BigInteger(), nullable=False),
        sa.Column("mirrored", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_outputs")),
    )
    op.create_table(
        "publications",
        sa.Column("output", KEY, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("build", sa.String(length=16), nullable=False),
        sa.Column("restores", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("built_at", sa.String(length=32), nullable=False),
        sa.Column("config_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("output", "version", name=op.f("pk_publications")),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("job", KEY, nullable=False),
        sa.Column("slot_key", KEY, nullable=False),
        sa.Column("slot_us", sa.BigInteger(), nullable=True),
        sa.Column("slot_last_us", sa.BigInteger(), nullable=True),
        sa.Column("slot_count", sa.Integer(), nullable=False),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", LONG, nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("reserved_for", sa.String(length=36), nullable=True),
        sa.Column("params_json", LONG, nullable=False),
        sa.Column("order_key", KEY, nullable=True),
        sa.Column("pool", KEY, nullable=True),
        sa.Column("forced", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=True),
        sa.Column("lease_us", sa.BigInteger(), nullable=True),
        sa.Column("boot_id", sa.String(length=36), nullable=True),
        sa.Column("cancel_asked", sa.Integer(), nullable=False),
        sa.Column("retry_of", sa.BigInteger(), nullable=True),
        sa.Column("coalesced_into", sa.BigInteger(), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("report_json", LONG, nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("job", "slot_key", name=op.f("uq_runs_job")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_job_slot", "runs", ["job", "slot_us"], unique=False)
    op.create_index("ix_runs_job_state", "runs", ["job", "state"], unique=False)
    op.create_index("ix_runs_order_key", "runs", ["order_key", "run_id"], unique=False)
    op.create_index("ix_runs_state_due", "runs", ["state", "due_us"], unique=False)
