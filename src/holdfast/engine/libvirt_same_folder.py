"""Whether a host has the same folder under a path as this machine: asked, not guessed.

Something is left there, and the host is asked whether it sees it. A copy of a share that somebody
made once, or another disk mounted in its place, does not have it, however alike the files are.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from holdfast.engine.errors import EngineError, HypervisorFailed
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_uri import is_local

_NAME = ".holdfast-"
_LARGEST_PROBE = 4096
# A share may show what another machine has made only after some time.
_SHOWN_SECONDS = 70.0
_PAUSE = 2.0


async def ensure_same_folder(
    connection: LibvirtConnection, folder: Path, *, proven: bool = True
) -> None:
    """Raise EngineError unless a host has the same folder under this path as this machine.

    A host on another machine has to show it: where it cannot be asked, its libvirt having no
    storage driver, or nothing can be left there, it is taken for another folder. A host on this
    machine is only refused when it says that it is, and without ``proven`` so is any: for files
    that take the place of no others.
    """
    local = is_local(connection.uri)
    if not local and not await asyncio.to_thread(folder.is_dir):
        raise EngineError(
            f"The folder {folder} of {connection.uri} is not there on the backup server. It must "
            "see the disks under the same path as their host."
        )
    try:
        seen = await sees_folder(connection, folder, 0.0 if local else _SHOWN_SECONDS)
    except (HypervisorFailed, OSError) as error:
        if local or not proven:
            return
        why = str(error) if isinstance(error, HypervisorFailed) else f"{error}."
        raise EngineError(
            f"Whether the folder {folder} of {connection.uri} is the one that the backup server "
            f"has under that path cannot be told: {why} For that, the host's libvirt needs its "
            "storage driver, and the backup server must be able to write to the folder."
        ) from error
    if not seen:
        raise EngineError(
            f"The folder {folder} of {connection.uri} is another one than the backup server has "
            "under that path. The backup server must see the disks under the same path as their "
            "host."
        )


async def sees_folder(connection: LibvirtConnection, folder: Path, patience: float) -> bool:
    """Say whether a host sees, within so many seconds, what is in a folder here.

    Raise OSError when nothing can be left there, HypervisorFailed when the host cannot be asked.
    """
    probe = folder / f"{_NAME}{secrets.token_hex(8)}"
    held = {secrets.token_hex(8): secrets.randbelow(_LARGEST_PROBE) + 1}
    try:
        await asyncio.to_thread(_leave, probe, held)
        limit = time.monotonic() + patience
        while await _shown(connection, probe) != held:
            if time.monotonic() >= limit:
                return False
            await asyncio.sleep(_PAUSE)
        return True
    finally:
        await asyncio.to_thread(shutil.rmtree, probe, ignore_errors=True)


def _leave(probe: Path, held: dict[str, int]) -> None:
    """Make a folder with files of these sizes, which are no secret. Blocking; raise OSError."""
    # A folder of its own: of others, the host would open every file that is there.
    probe.mkdir()
    probe.chmod(0o755)
    for name, size in held.items():
        (probe / name).write_bytes(b"\0" * size)
        (probe / name).chmod(0o644)


async def _shown(connection: LibvirtConnection, folder: Path) -> dict[str, int]:
    """Return the sizes, by their names, of the files that a host sees in a folder."""
    path = escape(str(folder))
    name = f"holdfast-{secrets.token_hex(8)}"
    xml = f"<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"

    def look(library: Any, connect: Any) -> dict[str, int]:
        # Not defined: it is forgotten with its end, and no file is touched.
        try:
            pool = connect.storagePoolCreateXML(xml, 0)
        except library.libvirtError as error:
            if "No such file" in str(error):
                return {}
            raise
        try:
            return {volume.name(): volume.info()[1] for volume in pool.listAllVolumes()}
        finally:
            with contextlib.suppress(library.libvirtError):
                pool.destroy()

    return await connection.call(look, doing=f"looking into {folder}")
