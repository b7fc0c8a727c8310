"""Documents that are one structure and no row: figures, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.representation import json, xml
from holdfast.schema.types import Element


@dataclass(frozen=True)
class Record:
    """The values of a declared root element, by the names of its parts."""

    root: Element
    values: Mapping[str, Any]
    base: str

    def to_xml(self) -> str:
        start = f"<{self.root.name}"
        written = xml.element_writer(self.root)(self.values, self.base)
        return f"{start}{xml.NAMESPACE_ATTRIBUTE}{written.removeprefix(start)}"

    def to_json(self) -> Any:
        members = json.value_writer(self.root)(self.values, self.base)
        # Every object of the API has these last, although most records have nothing to say in them.
        nothing: dict[str, Any] = {"Links": [], "Href": None, "Type": None}
        return members | {name: members.pop(name, value) for name, value in nothing.items()}
