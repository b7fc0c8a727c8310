"""Documents that are one declared structure, not rows of the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.representation import json, xml
from holdfast.representation.links import LinkValue
from holdfast.schema.types import Element


def links_value(links: Iterable[LinkValue]) -> dict[str, Any] | None:
    """Given links with addresses relative to the base, return the value of ``Links``, if any."""
    values = [
        {"Rel": link.rel, "Href": link.href, "Name": link.name, "Type": link.type} for link in links
    ]
    return {"Link": values} if values else None


@dataclass(frozen=True)
class Record:
    """The values of a declared root element, by the names of its parts."""

    root: Element
    values: Mapping[str, Any]
    base: str
    #: Whether it is a list alone, which in JSON has none of the members that all objects have.
    is_list: bool = False

    def to_xml(self) -> str:
        start = f"<{self.root.name}"
        written = xml.element_writer(self.root)(self.values, self.base)
        return f"{start}{xml.NAMESPACE_ATTRIBUTE}{written.removeprefix(start)}"

    def to_json(self) -> Any:
        members = json.value_writer(self.root)(self.values, self.base)
        if self.is_list:
            return members
        # Every object of the API has these last, although most records have nothing to say in them.
        nothing: dict[str, Any] = {"Links": [], "Href": None, "Type": None}
        return members | {name: members.pop(name, value) for name, value in nothing.items()}
