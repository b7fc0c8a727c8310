"""Secrets that a libvirt host is lent, so that its QEMU can open what is encrypted.

They are in the memory of libvirt's daemon only, which never tells them; the connection carries
them as it carries everything (a local socket, SSH or TLS). One is known by a UUID that is made of
the machine's, so that what a crash leaves is found, and taken away, the next time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any
from uuid import UUID, uuid5

from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import EngineError
from holdfast.engine.libvirt_connection import LibvirtConnection, uninterrupted
from holdfast.engine.libvirt_xml import secret_xml


def backup_secret(machine: str) -> str:
    """Given a machine's UUID, return that of the secret for its backups."""
    return str(uuid5(UUID(machine), "holdfast backup"))


def layer_secret(machine: str) -> str:
    """Given a machine's UUID, return that of the secret of the point that it runs from."""
    return str(uuid5(UUID(machine), "holdfast restore point"))


async def lend_secret(connection: LibvirtConnection, uuid: str, key: DataKey) -> None:
    """Make a key known to a host, in place of what the secret was before."""

    def define(_library: Any, connect: Any) -> None:
        xml = secret_xml(uuid, "Holdfast: the key of an encrypted backup")
        connect.secretDefineXML(xml, 0).setValue(key.passphrase, 0)

    await connection.call(define, doing="lending the key of a backup to the host")


async def take_secret_back(connection: LibvirtConnection, uuid: str) -> None:
    """Make a host forget a secret; one that it does not know is fine."""

    def forget(library: Any, connect: Any) -> None:
        try:
            secret = connect.secretLookupByUUIDString(uuid)
            secret.undefine()
        except library.libvirtError as error:
            known = (library.VIR_ERR_NO_SECRET, library.VIR_ERR_NO_SUPPORT)
            if error.get_error_code() not in known:
                raise

    await connection.call(forget, doing="taking the key of a backup back from the host")


async def take_secrets_back(connection: LibvirtConnection, uuids: Collection[str]) -> None:
    """As `take_secret_back`, of all of these that the host has."""

    def look(library: Any, connect: Any) -> set[str]:
        try:
            return {str(secret.UUIDString()) for secret in connect.listAllSecrets()}
        except library.libvirtError as error:
            if error.get_error_code() != library.VIR_ERR_NO_SUPPORT:
                raise
            return set()

    there = await connection.call(look, doing="looking for keys of backups on the host")
    for uuid in sorted(there.intersection(uuids)):
        await take_secret_back(connection, uuid)


async def take_secret_back_if_possible(connection: LibvirtConnection, uuid: str) -> None:
    """As `take_secret_back`, to the end and whatever comes of it: the next backup looks again."""
    with contextlib.suppress(EngineError):
        await uninterrupted(take_secret_back(connection, uuid))
