"""Restores a point's disk image: the backup file and all it depends on become one image again."""

import asyncio
import contextlib
import os
import stat
from collections.abc import Awaitable
from pathlib import Path

from holdfast.engine.data_key import DataKey
from holdfast.engine.durability import (
    discarded_on_exit,
    partial_name,
    publish,
    synchronised_meanwhile,
)
from holdfast.engine.errors import ChainBroken, EngineError
from holdfast.engine.failures import writing_failure
from holdfast.engine.image_chain import backup_files, read_backup_header
from holdfast.engine.image_check import ensure_sound
from holdfast.engine.image_lock import unchanged_while_read
from holdfast.engine.image_node import chain_node, name_of
from holdfast.engine.progress import Phases, ProgressCallback, ignore_progress
from holdfast.engine.qemu_image import (
    absolute,
    convert_arguments,
    convert_from_encrypted_arguments,
    run_qemu_image,
)
from holdfast.engine.together import proven_meanwhile

# Copying : bringing the copy to stable storage.
_WEIGHTS = (95, 5)
FORMATS = ("raw", "qcow2", "vmdk")
"""What a disk can be restored as; vmdk is one sparse file ("monolithicSparse")."""


async def restore_image(
    point: Path,
    target: Path,
    on_progress: ProgressCallback = ignore_progress,
    *,
    format: str = "raw",
    overwrite: bool = False,
    key: DataKey | None = None,
    proof: Awaitable[None] | None = None,
) -> None:
    """Write the disk as it was at a point to ``target``, as raw, qcow2 or vmdk.

    The target appears only when it is whole and on stable storage; an existing one is kept
    unless ``overwrite`` is set, and then until that moment: the new one has its owner and its
    permissions. Where there was none, the new one is for this account alone. It does not appear
    before the ``proof`` that the backup files are good, if one is given; its error is raised.
    ``key`` is that of an encrypted point; what is restored is not encrypted.

    Raise ChainBroken naming the file when a backup file is missing or damaged, KeyRefused when the
    key is not the one it needs, ImageInUse when a machine runs on the target or the chain is being
    merged, EngineError when the target may not be written, NoSpace, ToolMissing or ToolFailed;
    then, and when cancelled, no temporary is left.
    """
    if format not in FORMATS:
        raise EngineError(f"A disk can be restored as {', '.join(FORMATS)}, not as {format}.")
    point, target = absolute(point), absolute(target)
    await asyncio.to_thread(_ensure_allowed, target, overwrite)
    files = await asyncio.to_thread(backup_files, point)
    header = await asyncio.to_thread(read_backup_header, point)
    phases = Phases(on_progress, _WEIGHTS, header.virtual_size)
    partial = partial_name(target)
    copying = convert_arguments(point, partial, source_format="qcow2", target_format=format)
    if header.encrypted:
        name = name_of(await asyncio.to_thread(chain_node, point))
        copying = convert_from_encrypted_arguments(name, partial, format)
    async with discarded_on_exit(partial):
        await asyncio.to_thread(make_private, partial)
        try:
            async with (
                proven_meanwhile(ensure_sound(files, key)) as sound,
                synchronised_meanwhile(partial),
            ):
                await run_qemu_image(
                    copying,
                    doing=f"Restoring {point} to {target}",
                    writing=partial,
                    on_fraction=phases.phase(0),
                    unreadable=ChainBroken,
                    key=key,
                )
                await sound
                if proof is not None:
                    await proof
            # Writing took its time: a machine may have been started on the old file meanwhile.
            await asyncio.to_thread(_ensure_allowed, target, overwrite)
            await asyncio.to_thread(adopt_permissions, partial, target)
            await publish(partial, target, overwrite=overwrite)
        except FileExistsError as error:
            raise _already_there(target) from error
        except OSError as error:
            raise writing_failure(error, target) from error
    phases.phase(1)(1.0)


def _ensure_allowed(target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise EngineError(f"The folder {target.parent} to restore to does not exist.")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise _already_there(target)
    if not stat.S_ISREG(target.lstat().st_mode):
        raise EngineError(f"{target} is not a regular file; it is not overwritten.")
    # A machine running on the old file would go on writing to it, unseen, after the rename.
    with unchanged_while_read([target]):
        return


def make_private(partial: Path) -> None:
    """Make an empty file that nobody else may read: all of a machine's disk comes into it."""
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise writing_failure(error, partial) from error


def adopt_permissions(partial: Path, target: Path) -> None:
    """Give a file the owner and the permissions of the one whose place it takes, if any."""
    try:
        old = target.lstat()
    except FileNotFoundError:
        return
    # Only root may give files away, and some file systems know of neither.
    with contextlib.suppress(PermissionError):
        os.chown(partial, old.st_uid, old.st_gid)
    with contextlib.suppress(PermissionError):
        partial.chmod(stat.S_IMODE(old.st_mode))


def _already_there(target: Path) -> EngineError:
    return EngineError(f"{target} exists already; choose another name or allow overwriting it.")
