"""Whether a command was carried out is asked of its backup server, and of nobody else."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0010"


def upgrade() -> None:
    op.drop_column("unfinished_command", "carried_out")
