"""The connections to backup servers, and the items of their hierarchies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables and indexes."""
    op.create_table(
        "backup_server_connection",
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("leaving", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("server_uid"),
    )
    op.create_table(
        "hierarchy_item",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uid", sa.LargeBinary(length=16), nullable=False),
        sa.Column("server_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("hierarchy_root_uid", sa.LargeBinary(length=16), nullable=True),
        sa.Column("object_ref", sa.Text(), nullable=True),
        sa.Column("object_ref_key", sa.Text(), nullable=True),
        sa.Column("object_type", sa.Text(), nullable=True),
        sa.Column("object_type_key", sa.Text(), nullable=True),
        sa.Column("object_name", sa.Text(), nullable=True),
        sa.Column("object_name_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", name="hierarchy_item_uid_is_unique"),
    )
    op.create_index(
        "hierarchy_item_by_hierarchy_root_uid_object_name_key",
        "hierarchy_item",
        ["hierarchy_root_uid", "object_name_key", "uid"],
    )
    op.create_index("hierarchy_item_by_object_ref_key", "hierarchy_item", ["object_ref_key", "uid"])
