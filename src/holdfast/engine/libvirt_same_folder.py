"""Whether a host has the same folder under a path as this machine: asked, not guessed.

A file is left there, and the host is asked whether it sees it. A copy of a share that somebody
made once, or another disk mounted in its place, does not have it, however alike the files are.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from holdfast.engine.durability import write_private
from holdfast.engine.errors import EngineError, HypervisorFailed
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_uri import is_local

_NAME = ".holdfast-"
# A share may show what another machine has made only after some time.
_SHOWN_SECONDS = 70.0
_PAUSE = 2.0


async def ensure_same_folder(connection: LibvirtConnection, folder: Path) -> None:
    """Raise EngineError when a host on another machine has another folder under this path.

    Where it cannot be asked, its libvirt having no storage driver, or nothing can be left there,
    nothing is raised.
    """
    if is_local(connection.uri) or await sees_folder(connection, folder) is not False:
        return
    raise EngineError(
        f"The folder {folder} of {connection.uri} is another one than the backup server has under "
        "that path. The backup server must see the disks under the same path as their host."
    )


async def sees_folder(connection: LibvirtConnection, folder: Path) -> bool | None:
    """Say whether a host sees what is in a folder here; None when it cannot tell."""
    probe = folder / f"{_NAME}{secrets.token_hex(8)}"
    try:
        await asyncio.to_thread(_leave, probe)
    except OSError:
        return None
    limit = time.monotonic() + _SHOWN_SECONDS
    try:
        while True:
            try:
                if probe.name in await _listed(connection, folder):
                    return True
            except HypervisorFailed:
                return None
            if time.monotonic() >= limit:
                return False
            await asyncio.sleep(_PAUSE)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _leave(probe: Path) -> None:
    write_private(probe, b"")


async def _listed(connection: LibvirtConnection, folder: Path) -> set[str]:
    """Return the names of the files that a host sees in a folder."""
    path = escape(str(folder))
    name = f"holdfast-{secrets.token_hex(8)}"
    xml = f"<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"

    def look(library: Any, connect: Any) -> set[str]:
        try:
            # Two pools cannot have the same folder.
            pool = connect.storagePoolLookupByTargetPath(str(folder))
        except library.libvirtError as error:
            if error.get_error_code() != library.VIR_ERR_NO_STORAGE_POOL:
                raise
        else:
            pool.refresh(0)
            return set(pool.listVolumes())
        # Not defined: it is forgotten with its end, and no file is touched.
        try:
            pool = connect.storagePoolCreateXML(xml, 0)
        except library.libvirtError as error:
            if "No such file" in str(error):
                return set()  # it has no such folder at all
            raise
        try:
            return set(pool.listVolumes())
        finally:
            pool.destroy()

    return await connection.call(look, doing=f"looking into {folder}")
