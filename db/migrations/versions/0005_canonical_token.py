"""A number that changes with the content of a canonical table, where the database can see to that."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("canonical", sa.Column("token", sa.BigInteger(), server_default="0", nullable=False))
