"""Links and addresses, compiled from a type's declaration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from holdfast.schema.resource import Link, ResourceType, Schema

Row = Mapping[str, Any]


class LinkValue(NamedTuple):
    """A link of one document; `name` and `type` are left out when None."""

    rel: str
    href: str
    name: str | None = None
    type: str | None = None


#: Given a row and the base address, the link, or None when the row has no such link.
LinkWriter = Callable[[Row, str], LinkValue | None]

#: Given a method and an address with placeholders, whether the reader may follow a link there.
May = Callable[[str, str], bool]

_SEPARATING = re.compile("[/?%]")

#: Links that are not followed with POST.
_METHODS = {
    "Edit": "PUT",
    "Delete": "DELETE",
    **dict.fromkeys(
        ("Up", "Down", "Related", "Alternate", "Download", "First", "Previous", "Next", "Last"),
        "GET",
    ),
}


def method_of(rel: str) -> str:
    """Given a link's Rel, return the method that it is followed with."""
    return _METHODS.get(rel, "POST")


def address_of(schema: Schema, resource: ResourceType) -> Callable[[Row], str]:
    """Given a type, return the function from a row to its address below the base."""
    collection, identifier = resource.collection, resource.identifier
    if resource.parent is None:
        if resource.named:
            return lambda row: f"{collection}/{segment(row[identifier])}"
        return lambda row: f"{collection}/{row[identifier]}"
    parent = schema.target(resource, resource.parent)
    above = address_of_related(parent, resource.parent)
    return lambda row: f"{above(row)}{collection}/{row[identifier]}"


def address_of_related(target: ResourceType, relation: str) -> Callable[[Row], str]:
    """Given the type at the end of a relation, return the function from a row to its address."""
    collection = target.collection
    if target.named:
        name = f"{relation}.Name"
        return lambda row: f"{collection}/{segment(row[name])}"
    uid = f"{relation}.UID"
    return lambda row: f"{collection}/{row[uid]}"


def segment(name: str | None) -> str:
    """Given a name, return it as a part of a path.

    Slashes and question marks are encoded twice, and so are percent signs: encoded once they would
    be taken for what separates an address. ``50% a/b`` becomes ``50%2525%20a%252Fb``.
    """
    return quote(_SEPARATING.sub(lambda sign: quote(sign[0], safe=""), name or ""), safe="")


def everything(_method: str, _destination: str) -> bool:
    """Say of any link that its reader may follow it."""
    return True


def template_of(schema: Schema, resource: ResourceType) -> str:
    """Given a type, return the address of its items, with placeholders."""
    if resource.parent is None:
        return f"{resource.collection}/{{id}}"
    parent = schema.target(resource, resource.parent)
    return f"{parent.collection}/{{id}}{resource.collection}/{{item}}"


@lru_cache(maxsize=2048)
def link_writers(
    schema: Schema, resource: ResourceType, entities: bool, may: May = everything
) -> tuple[LinkWriter, ...]:
    """Given a type, return the writers of its entity's or its reference's links, in order.

    Those that the reader may not follow are not among them.
    """
    links = resource.links if entities else resource.reference_links
    return tuple(
        _conditional(link, _writer(schema, resource, link, may))
        for link in links
        if link.relation is None or resource.relation(link.relation).target in schema
        if link.any_of is not None
        or link.kept is not None
        or may(*_destination(schema, resource, link))
    )


def _destination(schema: Schema, resource: ResourceType, link: Link) -> tuple[str, str]:
    """Given a link, return what following it asks for: a method, an address with placeholders."""
    if link.relation is not None:
        return "GET", f"{schema.target(resource, link.relation).collection}/{{id}}"
    return method_of(link.rel), template_of(schema, resource) + (link.path or "")


def _conditional(link: Link, writer: LinkWriter) -> LinkWriter:
    when = link.when
    if when is None:
        return writer
    return lambda row, base: (
        writer(row, base) if (row[when.element] in when.values) is when.equal else None
    )


def _writer(schema: Schema, resource: ResourceType, link: Link, may: May) -> LinkWriter:
    if link.relation is not None:
        return _to_relation(schema, resource, link, link.relation)
    if link.any_of is not None:
        return _to_any(schema, link, link.any_of, may)
    if link.kept is not None:
        return _to_kept(link.kept)
    address = address_of(schema, resource)
    rel, suffix, link_type, named = link.rel, link.path or "", link.type, link.named
    return lambda row, base: LinkValue(
        rel, f"{base}{address(row)}{suffix}", row["Name"] if named else None, link_type
    )


def _to_relation(schema: Schema, resource: ResourceType, link: Link, relation: str) -> LinkWriter:
    target = schema.target(resource, relation)
    link_type = link.type or (target.document_type if link.entity else target.reference_type)
    suffix = "?format=Entity" if link.entity else ""
    address = address_of_related(target, relation)
    uid, name, rel, named = f"{relation}.UID", f"{relation}.Name", link.rel, link.named

    def write(row: Row, base: str) -> LinkValue | None:
        if row[uid] is None:
            return None
        return LinkValue(
            rel, f"{base}{address(row)}{suffix}", row[name] if named else None, link_type
        )

    return write


def _to_any(schema: Schema, link: Link, prefix: str, may: May) -> LinkWriter:
    words = prefix.title().replace("_", "")
    uid, type_name, name, rel = f"{prefix}.UID", f"{words}Type", f"{words}Name", link.rel

    def write(row: Row, base: str) -> LinkValue | None:
        if row[uid] is None or row[type_name] not in schema:
            return None
        target = schema[row[type_name]]
        if not may("GET", template_of(schema, target)):
            return None
        href = f"{base}{target.collection}/{row[uid]}?format=Entity"
        return LinkValue(rel, href, row[name], target.document_type)

    return write


def _to_kept(name: str) -> LinkWriter:
    """A link that the row itself holds, to what its one reader was allowed to have made."""

    def write(row: Row, base: str) -> LinkValue | None:
        kept = row[name]
        if kept is None:
            return None
        href = f"{base}{kept['Path']}"
        return LinkValue(kept["Rel"], href, kept.get("Name"), kept.get("Type"))

    return write
