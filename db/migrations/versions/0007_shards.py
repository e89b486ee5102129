"""Runs that are parts of another run's work."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("runs", sa.Column("shard_of", sa.BigInteger()))
    op.add_column("runs", sa.Column("shards", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_runs_shard_of", "runs", ["shard_of"])
