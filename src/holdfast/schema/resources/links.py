"""The links that nearly every resource has."""

from __future__ import annotations

from holdfast.schema.resource import Link, When

#: The first link of nearly every resource.
UP_TO_SERVER = Link("Up", relation="server", named=True)


def up(relation: str) -> Link:
    """Given a relation, return the link to the reference of the row at its end."""
    return Link("Up", relation=relation, named=True)


def up_to_entity(relation: str) -> Link:
    """Given a relation, return the link to the entity of the row at its end."""
    return Link("Up", relation=relation, entity=True, named=True)


def to_reference(type_name: str) -> Link:
    """Given a type's name in documents, return the link from an entity to its reference."""
    return Link("Alternate", f"{type_name}Reference", path="", named=True)


def to_entity(type_name: str) -> Link:
    """Given a type's name in documents, return the link from a reference to its entity."""
    return Link("Alternate", type_name, path="?format=Entity", named=True)


def down(list_type: str, path: str, when: When | None = None) -> Link:
    """Given the type of a list and where it stands below an item, return the link to it."""
    return Link("Down", list_type, path=path, when=when)
