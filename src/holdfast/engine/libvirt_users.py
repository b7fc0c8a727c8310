"""Which machines of a host have certain files, as disks, below these, or as NVRAM."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from typing import Any, NamedTuple

from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import files_in, read_definition


class FileUser(NamedTuple):
    """A machine that has a file, running or when it is started next."""

    uuid: str
    name: str
    path: str


async def users_of(connection: LibvirtConnection, paths: Collection[str]) -> list[FileUser]:
    """Return who has any of these files, by whichever name; ``path`` is the one given here.

    Raise what `LibvirtConnection` raises.
    """

    def look(library: Any, connect: Any) -> list[FileUser]:
        found = []
        for domain in connect.listAllDomains():
            try:
                uuid, name = domain.UUIDString(), domain.name()
                for xml in (domain.XMLDesc(0), domain.XMLDesc(library.VIR_DOMAIN_XML_INACTIVE)):
                    found += [FileUser(uuid, name, path) for path in _files_of(xml)]
            except library.libvirtError as error:
                if error.get_error_code() != library.VIR_ERR_NO_DOMAIN:
                    raise
                # It was removed while the others were looked at.
        return found

    def among(users: list[FileUser]) -> set[FileUser]:
        wanted = {os.path.realpath(path): path for path in paths}
        return {
            user._replace(path=wanted[real])
            for user in users
            if (real := os.path.realpath(user.path)) in wanted
        }

    users = await connection.call(look, doing="looking for who has certain files")
    return sorted(await asyncio.to_thread(among, users))


def _files_of(xml: str) -> set[str]:
    nvram = read_definition(xml).nvram
    return files_in(xml) | ({nvram} if nvram else set())
