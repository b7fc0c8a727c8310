"""The parts of a filter once it is understood."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from holdfast.schema.resource import QueryField


class Operator(Enum):
    """The comparison operators, by how they are written; longer ones first."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    GREATER_OR_EQUAL = ">="
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    LESS = "<"


#: A filter value in the form its column is stored in: case-folded text, a number, a UID.
Literal = str | int | float | UUID


@dataclass(frozen=True)
class Comparison:
    """A field compared with a value. A row without the field matches `NOT_EQUAL` alone."""

    field: QueryField
    operator: Operator
    value: Literal


@dataclass(frozen=True)
class All:
    """Every part holds (``;``)."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Any:
    """At least one part holds (``,``)."""

    parts: tuple[Expression, ...]


Expression = Comparison | All | Any
