"""From a `Query` to SQL text with bound parameters, for SQLite and PostgreSQL alike.

A page is read in two steps inside one statement: the inner part finds the ids in order, touching
only what filter and sort need; the outer one fetches those rows and the names of the rows they
link to. So a deep page does not drag whole rows along.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from holdfast.catalog.scope import Within, condition
from holdfast.catalog.tables import is_text, key_column
from holdfast.catalog.values import decoder, guid_text
from holdfast.query.expression import All, Comparison, Expression, Operator
from holdfast.query.request import Query
from holdfast.schema.resource import NAME, QueryField, ResourceType, Schema

_SQL_OPERATOR = {
    Operator.EQUAL: "=",
    Operator.NOT_EQUAL: "<>",
    Operator.GREATER: ">",
    Operator.GREATER_OR_EQUAL: ">=",
    Operator.LESS: "<",
    Operator.LESS_OR_EQUAL: "<=",
}

#: Given a stored value, the value of a row.
Decoder = Callable[[Any], Any]


@dataclass(frozen=True)
class Restriction:
    """A condition beyond the filter on a column of the type's own table.

    With `mentions`, the column holds a structure and the value is a UID that must occur in it.
    """

    column: str
    operator: Operator
    value: bytes | int | str
    mentions: bool = False


#: What limits the rows beyond the filter.
Condition = Restriction | Within


@dataclass(frozen=True)
class Statement:
    """SQL text and its parameters."""

    text: str
    parameters: tuple[Any, ...]


def quoted(identifier: str) -> str:
    """Given a column or table name, return it as SQL writes it (``order`` is one of ours)."""
    return f'"{identifier}"'


@dataclass(frozen=True)
class Projection:
    """What is read of a row: SQL expressions, their joins, and how to make a row of them."""

    names: tuple[str, ...]
    expressions: tuple[str, ...]
    decoders: tuple[Decoder | None, ...]
    joins: str

    def row(self, stored: tuple[Any, ...]) -> dict[str, Any]:
        """Given one row as stored, return it by name, decoded."""
        return {
            name: value if decode is None or value is None else decode(value)
            for name, value, decode in zip(self.names, stored, self.decoders, strict=True)
        }


@lru_cache(maxsize=256)
def projection(schema: Schema, resource: ResourceType, entities: bool) -> Projection:
    """Given a type, return what is read of its rows for references or for entities.

    A row holds ``UID``, ``Name``, its values by their names, and for each relation ``<name>.UID``
    and ``<name>.Name``, both None when the other row is not there.
    """
    names = ["UID"]
    expressions = ['t."uid"']
    decoders: list[Decoder | None] = [guid_text]
    joins: list[str] = []
    values = (*((NAME,) if resource.key else ()), *(resource.values if entities else ()))
    links = resource.links if entities else resource.reference_links
    if not entities:
        tested = {link.when.element for link in links if link.when}
        values += tuple(element for element in resource.values if element.name in tested)
    for element in values:
        names.append(element.name)
        expressions.append(f"t.{quoted(element.column)}")
        decoders.append(decoder(element.type, repeated=element.repeated))
    shown = {link.relation for link in links if link.relation} | (
        {resource.parent} if resource.parent else set()
    )
    for relation in resource.relations:
        if relation.name not in shown or relation.target not in schema:
            continue
        other = quoted(f"{relation.name}_row")
        target = schema[relation.target]
        joins.append(
            f" LEFT JOIN {quoted(target.table)} AS {other}"
            f' ON {other}."uid" = t.{quoted(relation.column)}'
        )
        names += [f"{relation.name}.UID", f"{relation.name}.Name"]
        expressions += [f'{other}."uid"', f'{other}."name"']
        decoders += [guid_text, None]
    for link in links:
        if link.any_of is not None:
            names.append(f"{link.any_of}.UID")
            expressions.append(f"t.{quoted(f'{link.any_of}_uid')}")
            decoders.append(guid_text)
    return Projection(tuple(names), tuple(expressions), tuple(decoders), "".join(joins))


class Selection:
    """The SQL of one query: a statement for its rows and one for their count."""

    def __init__(
        self, schema: Schema, query: Query, restrictions: tuple[Condition, ...] = ()
    ) -> None:
        self._schema = schema
        self._query = query
        self._aliases: dict[tuple[str, ...], str] = {}
        self._joins: list[str] = []
        self._parameters: list[Any] = []
        self.projection = projection(schema, query.resource, query.entities)
        conditions = [self._restricted(restriction) for restriction in restrictions]
        if query.filter is not None:
            conditions.append(self._condition(query.filter))
        #: Whether anything keeps rows from being read one after the other in their order.
        self.is_filtered = bool(conditions)
        self._where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        self._filter_joins = "".join(self._joins)

    def count(self) -> Statement:
        """Return the statement that counts the rows."""
        table = quoted(self._query.resource.table)
        return Statement(
            f"SELECT count(*) FROM {table} AS t{self._filter_joins}{self._where}",
            tuple(self._parameters),
        )

    def keys(self) -> Statement:
        """Return the inner part of `rows`: the ids of the page, in order."""
        query = self._query
        table, order = quoted(query.resource.table), query.order
        sort = self._column(order.field, order.field.sort_column)
        parameters = list(self._parameters)
        limit = ""
        if query.page is not None:
            limit = " LIMIT ? OFFSET ?"
            parameters += [query.page.size, query.page.offset]
        direction, tie = self._directions()
        return Statement(
            f'SELECT t."id" AS id, {sort} AS sort FROM {table} AS t{"".join(self._joins)}'
            f'{self._where} ORDER BY {sort} {direction}, t."uid" {tie}{limit}',
            tuple(parameters),
        )

    def rows(self) -> Statement:
        """Return the statement that reads the rows, in order."""
        keys, read = self.keys(), self.projection
        table = quoted(self._query.resource.table)
        direction, tie = self._directions()
        return Statement(
            f"SELECT {', '.join(read.expressions)} FROM ({keys.text}) AS k"
            f' JOIN {table} AS t ON t."id" = k.id{read.joins}'
            f' ORDER BY k.sort {direction}, t."uid" {tie}',
            keys.parameters,
        )

    def _directions(self) -> tuple[str, str]:
        """How the sorted column and the ties are ordered; missing values are lowest everywhere."""
        if self._query.order.descending:
            return "DESC NULLS LAST", "DESC"
        return "ASC NULLS FIRST", "ASC"

    def _restricted(self, restriction: Condition) -> str:
        if isinstance(restriction, Within):
            text, values = condition(self._schema, self._query.resource, restriction)
            self._parameters += values
            return text
        if restriction.mentions:
            self._parameters.append(f"%{restriction.value!s}%")
            return f"t.{quoted(restriction.column)} LIKE ?"
        self._parameters.append(restriction.value)
        return f"t.{quoted(restriction.column)} {_SQL_OPERATOR[restriction.operator]} ?"

    def _condition(self, expression: Expression) -> str:
        if isinstance(expression, Comparison):
            return self._comparison(expression)
        word = " AND " if isinstance(expression, All) else " OR "
        return f"({word.join(self._condition(part) for part in expression.parts)})"

    def _comparison(self, comparison: Comparison) -> str:
        column = self._column(comparison.field, comparison.field.column)
        value = comparison.value
        self._parameters.append(value.bytes if isinstance(value, UUID) else value)
        test = f"{column} {_SQL_OPERATOR[comparison.operator]} ?"
        if comparison.operator is Operator.NOT_EQUAL:
            # A row without the value differs from every value.
            return f"({test} OR {column} IS NULL)"
        return test

    def _column(self, field: QueryField, column: str) -> str:
        stored = key_column(column) if is_text(field.type) and column == field.column else column
        return f"{self._alias(field.via)}.{quoted(stored)}"

    def _alias(self, via: tuple[str, ...]) -> str:
        """Given relations to follow from the row, return the alias of the table at their end."""
        if not via:
            return "t"
        if via not in self._aliases:
            resource = self._query.resource
            for relation in via[:-1]:
                resource = self._schema.target(resource, relation)
            before, relation_column = self._alias(via[:-1]), resource.relation(via[-1]).column
            alias = f"f{len(self._aliases)}"
            table = quoted(self._schema.target(resource, via[-1]).table)
            self._joins.append(
                f" LEFT JOIN {table} AS {alias}"
                f' ON {alias}."uid" = {before}.{quoted(relation_column)}'
            )
            self._aliases[via] = alias
        return self._aliases[via]
