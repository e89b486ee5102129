"""Which queues were bound to which types of events."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"

KEY = sa.String(191).with_variant(mysql.VARCHAR(191, collation="utf8mb4_bin"), "mysql", "mariadb")
PATTERN = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "bindings",
        sa.Column("queue", KEY, nullable=False),
        sa.Column("pattern", PATTERN, nullable=False),
        sa.PrimaryKeyConstraint("queue", "pattern", name=op.f("pk_bindings")),
    )
