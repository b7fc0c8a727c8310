"""How it stands with replicas and with failover plans."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    texts = (("replica", "doing"), ("replica", "source_name"), ("replica", "failback"))
    for table, name in (*texts, ("failover_plan", "outcome")):
        for column in (name, f"{name}_key"):
            op.add_column(table, sa.Column(column, sa.Text(), nullable=True))
    op.add_column("failover_plan", sa.Column("doing", sa.SmallInteger(), nullable=True))
    op.add_column("replica", sa.Column("state", sa.SmallInteger(), nullable=True))
    for name in ("host_uid", "point_uid"):
        op.add_column("replica", sa.Column(name, sa.LargeBinary(length=16), nullable=True))
    op.add_column("failover_plan", sa.Column("machines", sa.Text(), nullable=True))
