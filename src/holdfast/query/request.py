"""The parameters of a query: which type, which rows, in what order, which page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.query.errors import QueryError
from holdfast.query.expression import Expression
from holdfast.query.filter import parse_filter
from holdfast.schema.resource import QueryField, ResourceType, Schema

#: What the API's examples show when a request names no page size.
DEFAULT_PAGE_SIZE = 15
MAXIMUM_PAGE_SIZE = 10_000

#: Numbers of pages and rows beyond this cannot be told to the database; nothing is there anyway.
_LARGEST = 1 << 62


@dataclass(frozen=True)
class Order:
    """How rows are sorted: by one field; ties go by UID."""

    field: QueryField
    descending: bool


@dataclass(frozen=True)
class Page:
    """Which part of the rows is wanted; `number` counts from 1."""

    size: int
    number: int

    @property
    def offset(self) -> int:
        """How many rows come before this page."""
        return min(self.size * (self.number - 1), _LARGEST)


@dataclass(frozen=True)
class Query:
    """A question to the catalog about the rows of one type. No page: all rows."""

    resource: ResourceType
    filter: Expression | None
    order: Order
    page: Page | None
    entities: bool = False


@dataclass(frozen=True)
class PageLimits:
    """The page size when none is asked for, and the greatest that is given."""

    default: int = DEFAULT_PAGE_SIZE
    greatest: int = MAXIMUM_PAGE_SIZE


#: Query parameters as they came: pairs of decoded name and value, in order.
Parameters = Sequence[tuple[str, str]]


def parse_query(schema: Schema, parameters: Parameters, limits: PageLimits) -> Query:
    """Given the parameters of ``/query``, return the query. Raises QueryError."""
    type_name = single(parameters, "type")
    if not type_name:
        raise QueryError("type", "Parameter type: expected the name of a resource type.")
    resource = schema.find(type_name)
    if resource is None or not resource.queryable:
        known = ", ".join(sorted(known.name for known in schema if known.queryable))
        raise QueryError("type", f"There is no type {type_name}; expected one of {known}.")
    return Query(
        resource=resource,
        filter=parse_filter(single(parameters, "filter") or "", schema.fields(resource)),
        order=parse_order(schema, resource, parameters),
        page=parse_page(parameters, limits, required=True),
        entities=wants_entities(parameters) or not resource.key,
    )


def wants_entities(parameters: Parameters) -> bool:
    """Given parameters, say whether full entities are asked for.

    ``Entity``, ``Entities`` and ``entities`` all occur; ``Reference``, ``References`` and nothing
    mean references.
    """
    wanted = (single(parameters, "format") or "reference").strip().casefold()
    if wanted in ("entity", "entities"):
        return True
    if wanted in ("reference", "references", "ref", "refs", ""):
        return False
    raise QueryError("format", "Parameter format: expected Entity, Entities or Reference.")


def default_order(schema: Schema, resource: ResourceType) -> Order:
    """Given a type, return the order of its rows when none is asked for."""
    field = schema.fields(resource).get(resource.default_sort.casefold())
    if field is None:
        raise KeyError(f"{resource.name} has no field {resource.default_sort} to sort by")
    return Order(field, resource.newest_first)


def parse_order(schema: Schema, resource: ResourceType, parameters: Parameters) -> Order:
    """Given parameters, return the order they ask for. Raises QueryError."""
    ascending, descending = single(parameters, "sortAsc"), single(parameters, "sortDesc")
    if ascending is None and descending is None:
        return default_order(schema, resource)
    if ascending is not None and descending is not None:
        raise QueryError("sortAsc", "Expected one of sortAsc and sortDesc, not both.")
    parameter = "sortAsc" if descending is None else "sortDesc"
    name = ((ascending if descending is None else descending) or "").strip()
    field = _sort_field(schema, resource, name)
    if field is None:
        known = ", ".join(sorted(known.name for known in schema.fields(resource).values()))
        message = f"Parameter {parameter}: there is no field {name!r}; expected one of {known}."
        raise QueryError(parameter, message)
    return Order(field, descending is not None)


def _sort_field(schema: Schema, resource: ResourceType, name: str) -> QueryField | None:
    found = schema.fields(resource).get(name.casefold())
    if found is None and name.casefold() == resource.query_service_sort.casefold():
        # The query service's own link names a field that the type does not have.
        return default_order(schema, resource).field
    return found


def parse_page(parameters: Parameters, limits: PageLimits, *, required: bool) -> Page | None:
    """Given parameters, return the page they ask for. Raises QueryError.

    Where paging is not `required` and not asked for, return None.
    """
    size, number = single(parameters, "pageSize"), single(parameters, "page")
    if size is None and number is None and not required:
        return None
    return Page(
        size=limits.default if size is None else min(_positive("pageSize", size), limits.greatest),
        number=1 if number is None else min(_positive("page", number), _LARGEST),
    )


def _positive(parameter: str, text: str) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()) or len(stripped) > 400 or int(stripped) < 1:
        raise QueryError(parameter, f"Parameter {parameter}: expected a number greater than zero.")
    return int(stripped)


def single(parameters: Parameters, name: str) -> str | None:
    """Given parameters and a name in any case, return the last value given for it, or None."""
    wanted = name.casefold()
    found = [value for key, value in parameters if key.casefold() == wanted]
    return found[-1] if found else None
