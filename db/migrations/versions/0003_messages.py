"""Messages: events going out and coming in, the events of runs, what flows through queues."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

KEY = sa.String(191).with_variant(mysql.VARCHAR(191, collation="utf8mb4_bin"), "mysql", "mariadb")
LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
NUMBER = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("event_id", KEY, nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("order_key", KEY, nullable=True),
        sa.Column("body", LONG, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("kept", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("problem", LONG, nullable=True),
        sa.Column("published_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        sa.UniqueConstraint("event_id", name=op.f("uq_outbox_event_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_published_due", "outbox", ["published_us", "due_us", "seq"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("consumer", KEY, nullable=False),
        sa.Column("event", KEY, nullable=False),
        sa.Column("token", sa.String(length=48), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "event", name=op.f("pk_inbox")),
    )
    op.create_index("ix_inbox_at_us", "inbox", ["at_us"], unique=False)
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", LONG, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "n", name=op.f("pk_run_events")),
    )
    op.create_table(
        "flows",
        sa.Column("queue", KEY, nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("dead", sa.Integer(), nullable=False),
        sa.Column("busy_s", sa.Float(), nullable=False),
        sa.Column("hands", sa.Integer(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=True),
        sa.Column("lag_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("queue", "owner", "at_us", name=op.f("pk_flows")),
    )
    op.create_index("ix_flows_at_us", "flows", ["at_us"], unique=False)
