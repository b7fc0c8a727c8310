"""How hosts of virtual machines are reached, and what jobs leave out of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TEXTS = ("uri", "reason", "host_name", "hypervisor_version", "library_version", "staging")


def upgrade() -> None:
    for name in (*_TEXTS, "acceleration_note"):
        for column in (name, f"{name}_key"):
            op.add_column("managed_server", sa.Column(column, sa.Text(), nullable=True))
    for name in ("state", "acceleration"):
        op.add_column("managed_server", sa.Column(name, sa.SmallInteger(), nullable=True))
    op.add_column(
        "managed_server", sa.Column("credentials_uid", sa.LargeBinary(length=16), nullable=True)
    )
    op.add_column("managed_server", sa.Column("last_scan", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("excludes", sa.Text(), nullable=True))
