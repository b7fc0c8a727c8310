"""The catalog's tables, made from the schema, and the manager's own few beside them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    true,
)
from sqlalchemy.types import TypeEngine

from holdfast.schema import types
from holdfast.schema.resource import NAME, ResourceType, Schema

#: Sixteen bytes of a UID.
UidColumn = LargeBinary(16)

#: An integer primary key; SQLite wants INTEGER for its row id.
RowId = BigInteger().with_variant(Integer(), "sqlite")


def is_text(value_type: types.Type) -> bool:
    """Say whether values of a type are compared as text, by a folded form kept beside them."""
    return isinstance(value_type, types.String | types.HierarchyRef)


def key_column(column: str) -> str:
    """Given a text column, return the column that holds its folded form."""
    return f"{column}_key"


def column_type(value_type: types.Type) -> TypeEngine[Any]:
    """Given a type of the schema, return how its values are stored."""
    match value_type:
        case types.Uid() | types.Guid():
            return UidColumn
        case types.Boolean() | types.Enumeration():
            return SmallInteger()
        case types.Integer() | types.DateTime():
            return BigInteger()
        case types.Real():
            return Float(53)
        case _:
            return Text()


def metadata_for(schema: Schema) -> MetaData:
    """Given a schema, return the tables of its catalog."""
    metadata = MetaData()
    for resource in schema:
        _resource_table(resource, metadata)
    _manager_tables(metadata)
    return metadata


def columns_of(resource: ResourceType) -> dict[str, TypeEngine[Any]]:
    """Given a type, return its columns beyond ``id`` and ``uid``: names to how they are stored."""
    columns: dict[str, TypeEngine[Any]] = {}
    if resource.private_to_logon:
        columns["logon_session_uid"] = UidColumn
    for relation in resource.relations:
        columns[relation.column] = UidColumn
    for element in (*((NAME,) if resource.key else ()), *resource.values):
        column = element.column
        columns[column] = Text() if element.repeated else column_type(element.type)
        if is_text(element.type) and not element.repeated:
            columns[key_column(column)] = Text()
    for link in resource.links:
        if link.any_of is not None:
            columns[f"{link.any_of}_uid"] = UidColumn
    return columns


def _resource_table(resource: ResourceType, metadata: MetaData) -> Table:
    table = Table(
        resource.table,
        metadata,
        Column("id", RowId, primary_key=True),
        Column("uid", UidColumn, nullable=False),
        *(Column(name, stored) for name, stored in columns_of(resource).items()),
        UniqueConstraint("uid", name=f"{resource.table}_uid_is_unique"),
    )
    indexes = list(resource.indexes)
    if resource.key:
        indexes.append(("name_key",))
    if resource.private_to_logon:
        indexes.append(("logon_session_uid",))
    if resource.parent is not None:
        indexes.append((resource.relation(resource.parent).column,))
    for columns in indexes:
        # The UID closes each index, so that an order with its ties can be read straight from it.
        name = "_by_".join((resource.table, "_".join(columns)))
        Index(name, *(table.c[column] for column in columns), table.c.uid)
    return table


def _manager_tables(metadata: MetaData) -> None:
    Table(
        "account",
        metadata,
        Column("uid", UidColumn, primary_key=True),
        Column("name", Text, nullable=False),
        Column("name_key", Text, nullable=False, unique=True),
        Column("password_hash", Text, nullable=False),
        Column("kind", Text, server_default="User", nullable=False),
        Column("allow_restore_all_vms", Boolean, server_default=true(), nullable=False),
        Column("created", BigInteger, nullable=False),
    )
    Table(
        "account_role",
        metadata,
        Column("account_uid", UidColumn, primary_key=True),
        Column("role", Text, primary_key=True),
    )
    Table(
        "logon_session",
        metadata,
        Column("uid", UidColumn, primary_key=True),
        Column("token_hash", LargeBinary(32), nullable=False, unique=True),
        Column("account_uid", UidColumn, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("last_used", BigInteger, nullable=False),
        Column("tasks_numbered", Integer, nullable=False),
    )
    Table(
        "logon_failure",
        metadata,
        Column("subject", Text, primary_key=True),
        Column("failures", Integer, nullable=False),
        Column("refused_until", BigInteger, nullable=False),
    )
    Table(
        "collected_feed",
        metadata,
        Column("server_uid", UidColumn, primary_key=True),
        Column("epoch", UidColumn, nullable=False),
        Column("cursor", BigInteger, nullable=False),
    )
    Table(
        "unfinished_command",
        metadata,
        Column("task_uid", UidColumn, primary_key=True),
        Column("server_uid", UidColumn, nullable=False),
        Column("command", Text, nullable=False),
    )
    Table(
        "backup_server_connection",
        metadata,
        Column("server_uid", UidColumn, primary_key=True),
        Column("address", Text, nullable=False),
        Column("port", Integer, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("token", LargeBinary, nullable=False),
        Column("description", Text, nullable=False),
        Column("leaving", Boolean, nullable=False),
    )
