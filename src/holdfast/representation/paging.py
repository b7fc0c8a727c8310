"""Where in the pages an answer stands, and the way to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from holdfast.representation import json, xml
from holdfast.representation.links import LinkValue
from holdfast.representation.records import links_value

# Signs of the filter language that a query string may hold as they are stay readable.
_SAFE = "=;,()!:*'/$@?-._~"


@dataclass(frozen=True)
class Paging:
    """One page among many. `address` and `parameters` are the request's own."""

    address: str
    parameters: Sequence[tuple[str, str]]
    size: int
    number: int
    total: int

    @property
    def pages(self) -> int:
        """How many pages there are; at least one."""
        return max(1, -(-self.total // self.size))

    def links(self) -> list[LinkValue]:
        """Return First, Previous, Next and Last, as far as there are such pages."""
        links = [LinkValue("First", self._href(1))]
        if self.number > 1:
            links.append(LinkValue("Previous", self._href(min(self.number - 1, self.pages))))
        if self.number < self.pages:
            links.append(LinkValue("Next", self._href(self.number + 1)))
        links.append(LinkValue("Last", self._href(self.pages)))
        return links

    def _href(self, number: int) -> str:
        """Given a page's number, return its address: the request's parameters in their order.

        Size and number of the page, where the request named none, go before the filter.
        """
        pairs = [
            (name, str(number) if name.casefold() == "page" else value)
            for name, value in self.parameters
        ]
        names = [name.casefold() for name, _ in pairs]
        missing = [
            (name, value)
            for name, value in (("pageSize", str(self.size)), ("page", str(number)))
            if name.casefold() not in names
        ]
        at = names.index("filter") if "filter" in names else len(pairs)
        pairs[at:at] = missing
        query = "&".join(f"{quote(name, _SAFE)}={quote(value, _SAFE)}" for name, value in pairs)
        return f"{self.address}?{query}"

    def values(self) -> dict[str, Any]:
        """Return the values of the element, for an `address` relative to the base."""
        return {
            "Links": links_value(self.links()),
            "PageNum": self.number,
            "PageSize": self.size,
            "PagesCount": self.pages,
        }

    def to_xml(self) -> str:
        """Return the ``PagingInfo`` element."""
        head = f'PagesCount="{self.pages}" PageSize="{self.size}" PageNum="{self.number}"'
        return f"<PagingInfo {head}>{xml.links(self.links())}</PagingInfo>"

    def to_json(self) -> dict[str, Any]:
        """Return the ``PagingInfo`` member."""
        return {
            "Links": json.links(self.links()),
            "PageNum": self.number,
            "PageSize": self.size,
            "PagesCount": self.pages,
        }
