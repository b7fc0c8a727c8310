"""Hierarchy references of hosts with libvirt, their machines and tags: written and read. Pure.

A host is its own root: ``urn:Libvirt:Host:<root>.<root>``, ``urn:Libvirt:Vm:<root>.<uuid>``,
``urn:Libvirt:Tag:<root>.<tag>``. They are compared without case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

_FORM = re.compile(
    r"urn:libvirt:(vm|host|tag):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.(.+))?",
    re.IGNORECASE | re.DOTALL,
)
VM, HOST, TAG = "Vm", "Host", "Tag"


@dataclass(frozen=True)
class LibvirtReference:
    """What a reference says: its type, the host, and the machine's UUID or the tag."""

    type: str
    root: UUID
    item: str


def host_reference(root: UUID) -> str:
    """Given a host, return its reference."""
    return f"urn:Libvirt:{HOST}:{root}.{root}"


def machine_reference(root: UUID, uuid: str) -> str:
    """Given a host and the UUID of a machine there, return the machine's reference."""
    return f"urn:Libvirt:{VM}:{root}.{uuid.lower()}"


def tag_reference(root: UUID, tag: str) -> str:
    """Given a host and a tag, return the reference of all its machines with that tag."""
    return f"urn:Libvirt:{TAG}:{root}.{tag}"


def read_reference(reference: str) -> LibvirtReference | None:
    """Given a reference, return what it says; None when it is of another platform or form."""
    found = _FORM.fullmatch(reference.strip())
    if found is None:
        return None
    kind, root, item = found[1].capitalize(), UUID(found[2]), found[3] or ""
    if kind == HOST:
        return LibvirtReference(HOST, root, "") if item.lower() in ("", found[2].lower()) else None
    item = item.lower() if kind == VM else item
    return LibvirtReference(kind, root, item) if item else None
