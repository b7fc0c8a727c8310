"""What the ledger of a restore that has ended says is to be put right; the old ones are not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the change."""
    op.execute(sa.text("UPDATE restore_session SET ledger = NULL WHERE state = 'Stopped'"))
