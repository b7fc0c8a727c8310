"""Hosts of virtual machines, asked over libvirt by the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.engine.libvirt_connection import connected
from holdfast.engine.libvirt_domain import read_definition
from holdfast.server.platform import HostAccess, HostFacts, HostMachine


class LibvirtPlatform:
    """A `Platform` over libvirt, which is not loaded before it is used."""

    async def probe(self, access: HostAccess) -> HostFacts:
        """Return what a host is."""
        async with connected(access.uri) as connection:
            return await connection.call(_facts, doing="probing the host")

    async def machines(self, access: HostAccess) -> Sequence[HostMachine]:
        """Return all machines of a host, running or not."""
        async with connected(access.uri) as connection:
            definitions = await connection.call(_definitions, doing="listing the machines")
        found = [read_definition(xml) for xml in definitions]
        return [HostMachine(each.uuid.lower(), each.name, each.tags) for each in found]


def _definitions(library: Any, connect: Any) -> list[str]:
    found = []
    for domain in connect.listAllDomains():
        try:
            found.append(str(domain.XMLDesc()))
        except library.libvirtError as error:
            # Removed since the list was made.
            if error.get_error_code() != library.VIR_ERR_NO_DOMAIN:
                raise
    return found


def _facts(_library: Any, connect: Any) -> HostFacts:
    return HostFacts(
        hostname=str(connect.getHostname()),
        hypervisor=_version(connect.getVersion()),
        library=_version(connect.getLibVersion()),
        acceleration="tcg",
    )


def _version(number: int) -> str:
    """Given libvirt's number of a version, such as 7002019, return it as ``7.2.19``."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
