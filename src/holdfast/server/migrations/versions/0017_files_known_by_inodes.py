"""The files of instant recoveries are known by device and inode, not by their names alone.

What those that are there have was never noted: it stays unknown, and nothing is removed for it.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_RECOVERY = sa.table("instant_recovery", sa.column("uid", sa.Uuid()), sa.column("files", sa.Text()))


def upgrade() -> None:
    """Make the change."""
    connection = op.get_bind()
    for row in connection.execute(sa.select(_RECOVERY)).all():
        files = [{"path": each, "device": None, "inode": None} for each in json.loads(row.files)]
        same = _RECOVERY.c.uid == row.uid
        connection.execute(sa.update(_RECOVERY).where(same).values(files=json.dumps(files)))
