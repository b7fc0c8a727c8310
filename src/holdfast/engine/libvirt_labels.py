"""What a host does with the files of a machine that starts: whom it gives them to.

A host that is the whole machine's gives every file of a disk to the user that QEMU runs as, also
those below the top layer. The files of a restore point must keep their owner.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Sequence
from pathlib import Path

from holdfast.engine.failures import reading_failure
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import Labels
from holdfast.engine.libvirt_xml import parse

# Ownership, and the marks of SELinux; others keep what they know outside of the files.
_IN_FILES = ("dac", "selinux")


async def labels_for(connection: LibvirtConnection, files: Sequence[Path]) -> Labels:
    """Given the files of a restore point, return what keeps them as they are on a host.

    QEMU runs as their owner where others may not read them. Raise SourceUnreadable.
    """
    capabilities = await connection.call(
        lambda _library, connect: connect.getCapabilities(), doing="asking about the host"
    )
    found = parse(capabilities, "The host's capabilities").iterfind("host/secmodel/model")
    models = tuple(name for model in found if (name := (model.text or "").strip()) in _IN_FILES)
    owner = None
    if "dac" in models:
        owner = await asyncio.to_thread(_owner_if_private, files)
    return Labels(models, owner)


def owner_of(path: Path) -> str:
    """Return whom a file belongs to, as libvirt writes it. Blocking; raise OSError."""
    status = path.stat()
    return f"+{status.st_uid}:+{status.st_gid}"


def _owner_if_private(files: Sequence[Path]) -> str | None:
    for file in files:
        try:
            if not _readable_by_all(file):
                return owner_of(file)
        except OSError as error:
            raise reading_failure(error, file) from error
    return None


def _readable_by_all(file: Path) -> bool:
    folders = (bool(folder.stat().st_mode & stat.S_IXOTH) for folder in file.parents)
    return bool(file.stat().st_mode & stat.S_IROTH) and all(folders)
