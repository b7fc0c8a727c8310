"""What a resource type is: the one declaration everything else is made from.

From a `ResourceType` come its table, its filter fields, its SQL, its XML and JSON writers, its
links, its routes and its contract tests. Nothing about a resource's shape is written elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from holdfast.schema.naming import snake_case
from holdfast.schema.roles import RESTORERS, USERS, Role
from holdfast.schema.types import STRING, DateTime, Element, Scalar, Structure, Uid


@dataclass(frozen=True)
class Relation:
    """A row's tie to one row of another type, kept by UID in the column ``<name>_uid``.

    The other row need not be there: it may have been deleted since, or not been collected
    yet. Links to it are then left out.
    """

    name: str
    target: str

    @property
    def column(self) -> str:
        """The column that holds the other row's UID."""
        return f"{self.name}_uid"


@dataclass(frozen=True)
class Field:
    """A query field beyond a type's own elements: one reached through relations.

    `path` is relation names, then ``UID``, ``Name`` or an element's name, joined by dots:
    ``job_session.JobName``.
    """

    name: str
    path: str


@dataclass(frozen=True)
class When:
    """A condition on a row under which a link is shown: the element has (not) one of the values."""

    element: str
    value: str | tuple[str, ...]
    equal: bool = True

    @property
    def values(self) -> tuple[str, ...]:
        """The values, also when there is one alone."""
        return (self.value,) if isinstance(self.value, str) else self.value


@dataclass(frozen=True)
class Link:
    """A link of a representation. Exactly one of the targets is set.

    - `relation`: to the related row; its reference, or its entity with `entity`. Left out when
      the row is not there.
    - `any_of`: to a row of a type that only the row knows: the columns ``<any_of>_type``,
      ``<any_of>_uid``, ``<any_of>_name`` say which.
    - `kept`: to where the row itself says: the structure of that name holds the ``Rel`` (which
      wins over that of the declaration), the ``Path`` and, if any, ``Type`` and ``Name``.
    - `path`: to the row's own address with this suffix (empty: the row itself).
    """

    rel: str
    type: str | None = None
    relation: str | None = None
    any_of: str | None = None
    kept: str | None = None
    path: str | None = None
    entity: bool = False
    named: bool = False
    when: When | None = None


@dataclass(frozen=True)
class SubCollection:
    """A collection below an item: the rows of `target` whose `relation` is the item.

    With `through`, the item's own relation of that name is looked for in place of the item: the
    restore points of a backup file are those whose UID the file's relation names. With
    `mentioned_in`, they are the rows whose structure of that name holds the item's UID: the
    tenants of a hardware plan. `entities` collections have no references.
    """

    path: str
    target: str
    relation: str | None = None
    through: str | None = None
    mentioned_in: str | None = None
    entities: bool = False
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """A further collection of a type's rows: those that a filter, as of a query, lets through.

    Without a filter it is all of them. `plural` is the root of their entities where that is not
    the type's own.
    """

    path: str
    filter: str | None = None
    plural: str | None = None


@dataclass(frozen=True)
class Action:
    """Something that can be done to an item: ``POST <item>?action=<name>``, or PUT, or DELETE.

    It is carried out on the item's backup server under a `Task` of the named operation.
    `body` names the root of the request document, where there is one; when that is the type's
    own, the item's document as it is read. With PUT and DELETE the action need not be named.
    One that `creates` is done to the collection below an item: ``POST <item>/<collection>``.
    The root of an XML body may have `any_root` where no source says how it is called.
    """

    name: str
    operation: str
    roles: frozenset[Role]
    body: str | None = None
    method: str = "POST"
    creates: bool = False
    any_root: bool = False


@dataclass(frozen=True, eq=False)
class ResourceType:
    """One resource type of the API. Each declaration is itself alone: equal to no other.

    `name` is its name in queries and, unless `type_name` differs, in types and UIDs; `root` its
    element where that has another one, `query_item` where a query's answer alone has another.
    `plural` is the root of a collection of entities and, unless `container` differs, the element
    around them in a query's answer; `collection` is the path, `views` are further collections.
    Not all types are `queryable`. `key` resources have a Name, a UID and two representations
    (reference and entity); others have one form, without the Type attribute unless `typed`.
    Items that are not `addressed` have no address of their own: a service answers with them.
    An item is known by `identifier` (its UID, its Name or one of its values) and lives below
    `parent` where that names a relation. `stored` are values that a row keeps but no document
    shows. `recent_days` limits the plain collection (never a query) to rows created since.
    """

    name: str
    plural: str
    collection: str
    root: str = ""
    container: str = ""
    query_item: str = ""
    type_name: str = ""
    typed: bool = True
    queryable: bool = True
    addressed: bool = True
    elements: tuple[Element, ...] = ()
    attributes: tuple[Element, ...] = ()
    relations: tuple[Relation, ...] = ()
    fields: tuple[Field, ...] = ()
    stored: tuple[Element, ...] = ()
    links: tuple[Link, ...] = ()
    reference_links: tuple[Link, ...] = ()
    children: tuple[SubCollection, ...] = ()
    views: tuple[View, ...] = ()
    actions: tuple[Action, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    readers: frozenset[Role] = USERS
    key: bool = True
    identifier: str = "UID"
    parent: str | None = None
    default_sort: str = "Name"
    newest_first: bool = False
    recent_days: int | None = None
    json_first: tuple[str, ...] = ()
    private_to_logon: bool = False
    query_service_sort: str = "name"

    @property
    def table(self) -> str:
        """The name of the catalog's table for this type."""
        return snake_case(self.name)

    @property
    def element_name(self) -> str:
        """The name of an entity's element."""
        return self.root or self.name

    @property
    def document_type(self) -> str:
        """The type's name in documents: in Type attributes and in UIDs."""
        return self.type_name or self.name

    @property
    def named(self) -> bool:
        """Whether an item is known by its name: in addresses and in its UID."""
        return self.identifier == "Name"

    @property
    def query_container(self) -> str:
        """The element around the entities in the answer to a query."""
        return self.container or self.plural

    @property
    def reference_type(self) -> str:
        """The Type attribute of a reference to a resource of this type."""
        return f"{self.document_type}Reference"

    @property
    def values(self) -> tuple[Element, ...]:
        """Everything a row holds by name: attributes, elements, stored values."""
        return (*self.attributes, *self.elements, *self.stored)

    @cached_property
    def _relations(self) -> Mapping[str, Relation]:
        return {relation.name: relation for relation in self.relations}

    def relation(self, name: str) -> Relation:
        """Given a relation's name, return it; KeyError if this type has none."""
        return self._relations[name]

    def value(self, name: str) -> Element:
        """Given the name of an element, attribute or stored value, return it; else KeyError."""
        for element in self.values:
            if element.name == name:
                return element
        raise KeyError(f"{self.name} has no {name}")

    def action(self, name: str) -> Action | None:
        """Given an action's name in any case, return it, or None."""
        wanted = name.casefold()
        return next((a for a in self.actions if a.name.casefold() == wanted), None)


@dataclass(frozen=True)
class QueryField:
    """A field of a filter or a sort, resolved: where its value is found and what it is.

    `via` are the relations to follow from the row (empty: its own value); `column` is the column
    at their end; `sort_column` the one to sort by.
    """

    name: str
    type: Scalar
    via: tuple[str, ...]
    column: str
    sort_column: str


NAME = Element("Name", STRING)


class Schema:
    """The resource types of one catalog, by name. Checked as a whole when it is made."""

    def __init__(self, types: Iterable[ResourceType]) -> None:
        self._types = {resource.name: resource for resource in types}
        self._by_lower = {name.casefold(): resource for name, resource in self._types.items()}
        self._fields = {resource.name: self._fields_of(resource) for resource in self}

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self._types.values())

    def __getitem__(self, name: str) -> ResourceType:
        return self._types[name]

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def find(self, name: str) -> ResourceType | None:
        """Given a type's name in any case, return the type, or None."""
        return self._by_lower.get(name.casefold())

    def fields(self, resource: ResourceType) -> Mapping[str, QueryField]:
        """Given a type, return its query fields by their names in lower case."""
        return self._fields[resource.name]

    def target(self, resource: ResourceType, relation: str) -> ResourceType:
        """Given a type and one of its relations, return the type at the other end."""
        return self._types[resource.relation(relation).target]

    def _fields_of(self, resource: ResourceType) -> dict[str, QueryField]:
        found: dict[str, QueryField] = {}

        def add(name: str, path: str) -> None:
            field = self._resolve(resource, name, path)
            if field is not None:
                found.setdefault(name.casefold(), field)

        for declared in resource.fields:
            add(declared.name, declared.path)
        if resource.key:
            add("UID", "UID")
            add("Name", "Name")
        for element in (*resource.attributes, *resource.elements):
            if element.repeated or isinstance(element.type, Structure):
                continue
            if element.field is not None:
                add(element.field, element.name)
            add(element.name, element.name)
        return found

    def _resolve(self, resource: ResourceType, name: str, path: str) -> QueryField | None:
        *via, last = path.split(".")
        at = resource
        for relation in via:
            target = at.relation(relation).target
            if target not in self._types:
                return None
            at = self._types[target]
        if last == "UID":
            if via:
                # The UID of a related row stands in the row before it: no join is needed.
                column = (self._at(resource, via[:-1])).relation(via[-1]).column
                return QueryField(name, Uid(at.document_type), tuple(via[:-1]), column, column)
            return QueryField(name, Uid(at.document_type), (), "uid", "uid")
        element = NAME if last == "Name" and at.key else at.value(last)
        if isinstance(element.type, Structure):
            raise TypeError(f"{resource.name}.{name}: a structure cannot be a query field")
        column = element.column
        sort_column = snake_case(element.sort_by) if element.sort_by else column
        return QueryField(name, element.type, tuple(via), column, sort_column)

    def _at(self, resource: ResourceType, via: list[str]) -> ResourceType:
        for relation in via:
            resource = self.target(resource, relation)
        return resource


def through(relation: str, prefix: str) -> tuple[Field, Field]:
    """Given a relation and a prefix, return the pair of fields the API gives it.

    ``through("server", "BackupServer")`` makes ``BackupServerUid`` and ``BackupServerName``.
    """
    return (Field(f"{prefix}Uid", f"{relation}.UID"), Field(f"{prefix}Name", f"{relation}.Name"))


def creation_element(resource: ResourceType) -> Element | None:
    """Given a type, return the element that says when a row came to be, or None."""
    for element in resource.elements:
        if isinstance(element.type, DateTime) and element.field == "CreationTime":
            return element
    return None


__all__ = [
    "NAME",
    "RESTORERS",
    "Action",
    "Field",
    "Link",
    "QueryField",
    "Relation",
    "ResourceType",
    "Schema",
    "SubCollection",
    "View",
    "When",
    "creation_element",
    "through",
]
