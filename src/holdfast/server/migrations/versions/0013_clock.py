"""What time it was when the server last looked, and by how much its clock has jumped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the change."""
    op.add_column("server", sa.Column("seen", sa.BigInteger(), nullable=True))
    op.create_table(
        "clock_jump",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_clock_jump"),
    )
