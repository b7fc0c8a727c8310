"""The files of restore points, proven to be as they were written before anything uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import ChainBroken
from holdfast.engine.failures import reading_failure
from holdfast.engine.image_chain import backup_files
from holdfast.server import journal, tables
from holdfast.server.repositories import BackupPlace
from holdfast.server.store import Store


async def verify(
    store: Store,
    place: BackupPlace,
    images: Iterable[Path],
    advance: Callable[[float], None],
    *,
    force: bool = False,
) -> None:
    """Given the disks of a point, compare each file that is read for them with its checksum.

    `advance` is told the fraction that is done. Raise ChainBroken naming the first that is not as
    it was when it was written, or of which that cannot be said: an interrupted merge has written to
    it. With `force`, damaged ones are wanted, too: nothing is compared.
    """
    if force:
        advance(1.0)
        return
    known = await _files_of(store, place, images)
    files = list(known)
    total = sum(known[file].file_size for file in files) or 1
    done = 0

    def note(read: int) -> None:
        advance((done + read) / total)

    for file in files:
        try:
            digest = await sha256_of(file, note)
        except OSError as error:
            raise reading_failure(error, file) from error
        if digest != known[file].sha256:
            doubtful = await store.read(lambda c: journal.rewritten_files(c, place.backup))
            if known[file].uid in doubtful:
                raise ChainBroken(
                    f"Whether the backup file {file} is whole cannot be said now: retention was "
                    "interrupted while it wrote to it, and could not finish that yet. Nothing was "
                    "restored. The next start of the server, backup or restore of this machine "
                    "tries again; with force, what can be read of it is restored now."
                )
            raise ChainBroken(
                f"The backup file {file} is damaged: its checksum is not the one it was "
                "written with. Nothing was restored."
            )
        done += known[file].file_size
    advance(1.0)


async def verify_sizes(store: Store, place: BackupPlace, images: Iterable[Path]) -> None:
    """Given the disks of a point, see that each file that is read for them is there and whole.

    This takes no time; damage inside a file is not found. Raise ChainBroken naming the file.
    """
    for file, row in (await _files_of(store, place, images)).items():
        try:
            size = (await asyncio.to_thread(file.stat)).st_size
        except OSError as error:
            raise reading_failure(error, file) from error
        if size != row.file_size:
            raise ChainBroken(
                f"The backup file {file} is damaged: it has {size} bytes, not {row.file_size}."
            )


async def _files_of(
    store: Store, place: BackupPlace, images: Iterable[Path]
) -> dict[Path, Row[Any]]:
    """Return all files that are read for some images, with their rows."""
    rows = await store.read(lambda c: _recorded_files(c, place.backup))
    known = {place.path(row.path): row for row in rows}
    files = [file for image in images for file in await asyncio.to_thread(backup_files, image)]
    for file in files:
        if file not in known:
            raise ChainBroken(f"The backup file {file} is not in the catalog of this server.")
    return {file: known[file] for file in files}


def _recorded_files(connection: Connection, backup: UUID) -> list[Row[Any]]:
    file = tables.backup_file
    return list(connection.execute(select(file).where(file.c.backup_uid == backup)))
