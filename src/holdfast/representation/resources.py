"""Rows as documents: the entity and the reference of each type, in XML and in JSON.

The writers of a type are compiled once from its declaration and kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from holdfast.representation import json, xml
from holdfast.representation.links import (
    LinkValue,
    May,
    Row,
    address_of,
    everything,
    link_writers,
)
from holdfast.schema.naming import urn_prefix
from holdfast.schema.resource import ResourceType, Schema


class ResourceWriter:
    """Writes the rows of one type, as entities (or the only form there is) or as references."""

    def __init__(
        self, schema: Schema, resource: ResourceType, entities: bool, may: May = everything
    ) -> None:
        self.resource = resource
        self.entities = entities or not resource.key
        self._address = address_of(schema, resource)
        self._links = link_writers(schema, resource, self.entities, may)
        self._type = resource.document_type if self.entities else resource.reference_type
        self._suffix = "?format=Entity" if self.entities and resource.key else ""
        self._urn = urn_prefix(resource.document_type)
        self._known_by = resource.identifier if resource.named else "UID"
        attributes = resource.attributes if self.entities else ()
        elements = resource.elements if self.entities else ()
        self._xml_attributes = [(a.name, xml.attribute_writer(a)) for a in attributes]
        self._xml_elements = [(e.name, xml.element_writer(e)) for e in elements]
        first = [element for element in elements if element.name in resource.json_first]
        rest = [element for element in elements if element.name not in resource.json_first]
        self._json_members = [
            (part.name, json.member_name(part), json.value_writer(part))
            for part in (*first, *rest, *attributes)
        ]

    def links(self, row: Row, base: str) -> list[LinkValue]:
        """Given a row, return its links, in order."""
        return [link for write in self._links if (link := write(row, base)) is not None]

    def xml(self, row: Row, base: str, root: str | None = None, head: str = "") -> str:
        """Given a row and the base address, return its element.

        `root` is the element's name where it is not the type's own (``Ref``, ``EntityRef``), `head`
        text for the start tag, such as a namespace.
        """
        name = root or self.resource.element_name
        typed = f' Type="{self._type}"' if self.resource.typed else ""
        start = [f"<{name}{head}{typed}"]
        if self.resource.addressed:
            href = xml.attribute(f"{base}{self._address(row)}{self._suffix}")
            start.append(f' Href="{href}"')
        if self.resource.key:
            start.append(f' Name="{xml.attribute(row["Name"] or "")}"')
        start += [write(row[key], base) for key, write in self._xml_attributes]
        if self.resource.key:
            start.append(f' UID="{self._urn}{xml.attribute(row[self._known_by] or "")}"')
        body = xml.links(self.links(row, base)) + "".join(
            [write(row[key], base) for key, write in self._xml_elements]
        )
        return f"{''.join(start)}>{body}</{name}>"

    def json(self, row: Row, base: str) -> dict[str, Any]:
        """Given a row and the base address, return its JSON object."""
        members = {member: write(row[key], base) for key, member, write in self._json_members}
        links = json.links(self.links(row, base))
        href = f"{base}{self._address(row)}{self._suffix}" if self.resource.addressed else None
        if not self.resource.key:
            shown = self._type if self.resource.typed else None
            return {**members, "Links": links, "Href": href, "Type": shown}
        name, uid = row["Name"] or "", f"{self._urn}{row[self._known_by] or ''}"
        if self.entities:
            members |= {"Name": name, "UID": uid, "Links": links, "Href": href}
            return members | {"Type": self._type}
        return {"Links": links, "UID": uid, "Name": name, "Href": href, "Type": self._type}


@lru_cache(maxsize=2048)
def writer_for(
    schema: Schema, resource: ResourceType, entities: bool, may: May = everything
) -> ResourceWriter:
    """Given a type, return the writer of its entities or references.

    `may` says of a method and an address with placeholders whether the reader may follow a link
    there; other links are left out. It is asked when the writer is made, not for each row.
    """
    return ResourceWriter(schema, resource, entities, may)
