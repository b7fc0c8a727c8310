"""Scopes of restore as a condition in SQL, so that they limit rows before paging."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from uuid import UUID

from holdfast.catalog.tables import key_column
from holdfast.schema.resource import ResourceType, Schema
from holdfast.schema.scopes import TIES, Tie


@dataclass(frozen=True)
class Within:
    """The condition that a row is within the scopes of an account."""

    account: UUID


def condition(schema: Schema, resource: ResourceType, scope: Within) -> tuple[str, list[bytes]]:
    """Given a type whose rows are limited, return the condition on its row ``t``, and its values.

    The condition follows the ties of the type to what the scopes cover.
    """
    parameters: list[bytes] = []
    names = (f"w{number}" for number in count())

    def tied(of: ResourceType, alias: str) -> str:
        ways = [way(of, alias, tie) for tie in TIES[of.name]]
        return f"({' OR '.join(ways)})" if ways else "0 = 1"

    def way(of: ResourceType, alias: str, tie: Tie) -> str:
        if tie.value is not None:
            parameters.append(scope.account.bytes)
            column = key_column(of.value(tie.value).column)
            return (
                'EXISTS (SELECT 1 FROM "enterprise_account_hierarchy_scope" AS s'
                ' WHERE s."account_uid" = ?'
                f""" AND {alias}."{column}" LIKE s."covers_key" ESCAPE '!')"""
            )
        other = next(names)
        if tie.relation is not None:
            target = schema.target(of, tie.relation)
            joined = f'{other}."uid" = {alias}."{of.relation(tie.relation).column}"'
        else:
            name, relation = tie.below or ("", "")
            target = schema[name]
            joined = f'{other}."{target.relation(relation).column}" = {alias}."uid"'
        return (
            f'EXISTS (SELECT 1 FROM "{target.table}" AS {other} WHERE {joined}'
            f" AND {tied(target, other)})"
        )

    return tied(resource, "t"), parameters
