"""What a command waits for is a column of its own, not only a part of its outcome."""

from __future__ import annotations

import json
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the change."""
    with op.batch_alter_table("command") as command:
        command.add_column(sa.Column("awaits", sa.Uuid()))
        command.create_index("ix_command_awaits", ["awaits"])
    table = sa.table(
        "command",
        sa.column("request_id", sa.Uuid()),
        sa.column("outcome", sa.Text()),
        sa.column("awaits", sa.Uuid()),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(table.c.request_id, table.c.outcome)).all():
        if work := json.loads(row.outcome).get("awaits"):
            same = table.c.request_id == row.request_id
            connection.execute(sa.update(table).where(same).values(awaits=UUID(work)))
