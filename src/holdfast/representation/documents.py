"""Whole documents: an item, a collection, a query's answer, a service, an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.representation import json, xml
from holdfast.representation.links import LinkValue, Row
from holdfast.representation.paging import Paging
from holdfast.representation.resources import ResourceWriter


class Document(Protocol):
    """Something that can be answered in both formats."""

    def to_xml(self) -> str:
        """Return the document without its declaration."""

    def to_json(self) -> Any:
        """Return the document as plain values."""


@dataclass(frozen=True)
class Item:
    """One row."""

    writer: ResourceWriter
    row: Row
    base: str

    def to_xml(self) -> str:
        root = None if self.writer.entities else "EntityRef"
        return self.writer.xml(self.row, self.base, root, xml.NAMESPACE_ATTRIBUTE)

    def to_json(self) -> Any:
        return self.writer.json(self.row, self.base)


@dataclass(frozen=True)
class Collection:
    """Rows of one type, all of them or, with `paging`, a page.

    `plural` is the root of entities where that is not the type's own.
    """

    writer: ResourceWriter
    rows: Sequence[Row]
    base: str
    paging: Paging | None = None
    plural: str | None = None

    def to_xml(self) -> str:
        root = self._plural() if self.writer.entities else "EntityReferences"
        tail = self.paging.to_xml() if self.paging else ""
        return f"<{root}{xml.NAMESPACE_ATTRIBUTE}>{_items(self)}{tail}</{root}>"

    def to_json(self) -> Any:
        name = self._plural() if self.writer.entities else "Refs"
        document: dict[str, Any] = {name: _objects(self)}
        if self.paging:
            document["PagingInfo"] = self.paging.to_json()
        return document

    def _plural(self) -> str:
        return self.plural or self.writer.resource.plural


@dataclass(frozen=True)
class QueryAnswer:
    """A page of rows as the answer to a query."""

    writer: ResourceWriter
    rows: Sequence[Row]
    base: str
    paging: Paging

    def to_xml(self) -> str:
        items = _items(self)
        if not self.writer.entities:
            content = f"<Refs>{items}</Refs>"
        else:
            outer, plural = self._container(), self.writer.resource.query_container
            content = f"<{outer}><{plural}>{items}</{plural}></{outer}>"
        root = "QueryResult"
        return f"<{root}{xml.NAMESPACE_ATTRIBUTE}>{content}{self.paging.to_xml()}</{root}>"

    def to_json(self) -> Any:
        members: dict[str, Any] = dict.fromkeys(("Refs", "Entities", "Resources", "Links"))
        objects = _objects(self)
        if self.writer.entities:
            plural = self.writer.resource.query_container
            members[self._container()] = {plural: {plural: objects}}
        else:
            members["Refs"] = {"Refs": objects}
        return members | {"PagingInfo": self.paging.to_json()}

    def _container(self) -> str:
        """What is no key resource has no entities; it is answered under ``Resources``."""
        return "Entities" if self.writer.resource.key else "Resources"


@dataclass(frozen=True)
class Service:
    """A document that holds links and little else: the entry point, a logon session, a service.

    `href` and `type` are left out when None. `texts` are plain child elements, `wrapped` wrapper
    elements with items of their own (wrapper name → item name → items).
    """

    root: str
    links: Sequence[LinkValue]
    type: str | None = None
    href: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    wrapped: Mapping[str, Sequence[NamedItem]] = field(default_factory=dict)

    def to_xml(self) -> str:
        return self.element(xml.NAMESPACE_ATTRIBUTE)

    def element(self, head: str = "") -> str:
        """Return the element, with `head` in its start tag."""
        if self.type is not None:
            head += f' Type="{self.type}"'
        if self.href is not None:
            head += f' Href="{xml.attribute(self.href)}"'
        body = xml.links(self.links)
        body += "".join(f"<{name}>{xml.text(value)}</{name}>" for name, value in self.texts.items())
        for wrapper, items in self.wrapped.items():
            body += f"<{wrapper}>{''.join(item.element() for item in items)}</{wrapper}>"
        return f"<{self.root}{head}>{body}</{self.root}>"

    def to_json(self) -> Any:
        document: dict[str, Any] = dict(self.texts)
        for wrapper, items in self.wrapped.items():
            document[wrapper] = {wrapper: [item.to_json() for item in items]}
        document["Links"] = json.links(self.links)
        if self.href is not None:
            document["Href"] = self.href
        if self.type is not None:
            document["Type"] = self.type
        return document


@dataclass(frozen=True)
class NamedItem:
    """An item of a service's wrapper: a name and links."""

    root: str
    name: str
    links: Sequence[LinkValue]

    def element(self) -> str:
        """Return the element."""
        links = xml.links(self.links)
        return f'<{self.root} Name="{xml.attribute(self.name)}">{links}</{self.root}>'

    def to_json(self) -> Any:
        """Return the object."""
        return {"Name": self.name, "Links": json.links(self.links)}


@dataclass(frozen=True)
class ServiceCollection:
    """Several services under a plural root, such as the logon sessions."""

    root: str
    items: Sequence[Service]

    def to_xml(self) -> str:
        items = "".join(item.element() for item in self.items)
        return f"<{self.root}{xml.NAMESPACE_ATTRIBUTE}>{items}</{self.root}>"

    def to_json(self) -> Any:
        return {self.root: [item.to_json() for item in self.items]}


@dataclass(frozen=True)
class Error:
    """What went wrong, in the one shape that every error has. The stack is never part of it."""

    status: int
    message: str

    def to_xml(self) -> str:
        head = f'Message="{xml.attribute(self.message)}" StatusCode="{self.status}" Status=""'
        return f"<Error{xml.NAMESPACE_ATTRIBUTE} {head} />"

    def to_json(self) -> Any:
        return {
            "FirstChanceExceptionMessage": None,
            "Message": self.message,
            "StackTrace": None,
            "Status": None,
            "StatusCode": self.status,
        }


def _items(document: Collection | QueryAnswer) -> str:
    root = None if document.writer.entities else "Ref"
    if root is None and isinstance(document, QueryAnswer):
        root = document.writer.resource.query_item or None
    write, base = document.writer.xml, document.base
    return "".join([write(row, base, root) for row in document.rows])


def _objects(document: Collection | QueryAnswer) -> list[Any]:
    write, base = document.writer.json, document.base
    return [write(row, base) for row in document.rows]
