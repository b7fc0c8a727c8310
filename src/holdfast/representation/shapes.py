"""The shapes of documents as the writers make them, for those who describe them.

What `xml` and `json` write and what the XML schema and the JSON schemas promise must be the same;
both descriptions are made from the elements that this module gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.schema.resource import ResourceType, Schema
from holdfast.schema.services import LINKS
from holdfast.schema.types import (
    HREF,
    STRING,
    Element,
    Enumeration,
    Href,
    String,
    Structure,
    Uid,
)

REFERENCE_ROOT = "EntityRef"
REFERENCE_ITEM = "Ref"
REFERENCES_ROOT = "EntityReferences"
REFERENCES_MEMBER = "Refs"


def may_be_missing(element: Element) -> bool:
    """Given an element or attribute, say whether a document may be without it.

    Text that is not optional is written empty when there is none, and an address is always known.
    Any other value may be missing even if it usually is there: its backup server may not have told
    it, or what it points to may be gone. A resource's own UID never is.
    """
    always_there = isinstance(element.type, String | Href | Structure) or element.name == "UID"
    return element.optional or not always_there


def entity(resource: ResourceType) -> Element:
    """Given a type, return the element of its entities, or of the one form it has."""
    attributes = []
    if resource.typed:
        attributes.append(Element("Type", Enumeration((resource.document_type,))))
    if resource.addressed:
        attributes.append(Element("Href", HREF))
    if resource.key:
        attributes += [Element("Name", STRING), _uid(resource)]
    structure = Structure((LINKS, *resource.elements), (*attributes, *resource.attributes))
    return Element(resource.element_name, structure)


def _uid(resource: ResourceType) -> Element:
    return Element("UID", STRING if resource.named else Uid(resource.document_type))


def reference(schema: Schema) -> Element:
    """Given a schema, return the element of a reference to anything in it."""
    names = sorted({resource.reference_type for resource in schema if resource.key})
    attributes = (
        Element("Type", Enumeration(tuple(names))),
        Element("Href", HREF),
        Element("Name", STRING),
        Element("UID", STRING),
    )
    return Element(REFERENCE_ROOT, Structure((LINKS,), attributes))


@dataclass(frozen=True)
class Container:
    """An element around items, and the types whose items stand in it by the items' element."""

    name: str
    items: tuple[tuple[str, ResourceType], ...]


def collections(schema: Schema) -> list[Container]:
    """Given a schema, return the roots of collections of entities."""
    plurals = [(r.plural, r) for r in schema]
    plurals += [(view.plural, r) for r in schema for view in r.views if view.plural is not None]
    return _grouped((plural, r.element_name, r) for plural, r in plurals)


def query_containers(schema: Schema, *, key: bool) -> list[Container]:
    """Given a schema, return what may stand in a query's answer.

    Under ``Entities`` stand the `key` resources, under ``Resources`` the others.
    """
    return _grouped(
        (r.query_container, r.query_item or r.element_name, r)
        for r in schema
        if r.queryable and r.key is key
    )


def _grouped(entries: Iterable[tuple[str, str, ResourceType]]) -> list[Container]:
    found: dict[str, list[tuple[str, ResourceType]]] = {}
    for container, item, resource in entries:
        found.setdefault(container, []).append((item, resource))
    return [Container(name, tuple(items)) for name, items in sorted(found.items())]
