"""Accounts of every kind with several roles each; what a scope of restore covers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "account_role",
        sa.Column("account_uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_uid", "role"),
    )
    op.execute(
        "INSERT INTO account_role (account_uid, role)"
        " SELECT uid, role FROM account WHERE role IS NOT NULL"
    )
    # Who could log on before was a user, and could restore everything its role let it.
    kind: sa.Column[str] = sa.Column("kind", sa.Text(), server_default="User", nullable=False)
    restores: sa.Column[bool] = sa.Column(
        "allow_restore_all_vms", sa.Boolean(), server_default=sa.true(), nullable=False
    )
    op.add_column("account", kind)
    op.add_column("account", restores)
    op.drop_column("account", "role")
    for name in ("hierarchy_obj_ref", "covers"):
        for column in (name, f"{name}_key"):
            op.add_column(
                "enterprise_account_hierarchy_scope", sa.Column(column, sa.Text(), nullable=True)
            )
