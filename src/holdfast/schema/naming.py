"""Names that follow from a name: columns, urns, list types."""

from __future__ import annotations

import re
from functools import lru_cache
from uuid import UUID

#: The namespace of every document and the namespace part of every UID. Both belong to the
#: protocol: clients compare them.
XML_NAMESPACE = "http://www.veeam.com/ent/v1.0"
URN_NAMESPACE = "veeam"

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")


@lru_cache(maxsize=1024)
def snake_case(name: str) -> str:
    """Given a name of the API, return its column: ``EndTimeUTC`` → ``end_time_utc``."""
    return "_".join(word.lower() for word in _WORD.findall(name))


def urn_prefix(entity: str) -> str:
    """Given an entity type, return what stands before the GUID in the UIDs of its resources."""
    return f"urn:{URN_NAMESPACE}:{entity}:"


def guid_of(text: str) -> UUID:
    """Given a bare GUID or a urn that ends in one, return the GUID; otherwise ValueError."""
    head, _, last = text.strip().rpartition(":")
    if head and not head.lower().startswith(f"urn:{URN_NAMESPACE}:"):
        raise ValueError("expected a GUID or urn:veeam:<type>:<GUID>")
    if len(last) not in (32, 36, 38):
        raise ValueError("expected a GUID or urn:veeam:<type>:<GUID>")
    try:
        return UUID(last)
    except ValueError:
        raise ValueError("expected a GUID or urn:veeam:<type>:<GUID>") from None
