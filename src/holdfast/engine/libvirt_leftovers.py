"""Takes away what a libvirt daemon that was killed has left in QEMU, and does not know of.

To begin a backup libvirt gives QEMU several commands: it opens the new files, has the bitmaps and
the copying begin, and writes down what it did. Killed in between, it knows nothing of some of that
when it is started again, and the machine would keep it until it is powered off: files that are
deleted and take their space, and bitmaps to keep up with every write.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from holdfast.engine.durability import PARTIAL_SUFFIX
from holdfast.engine.errors import HypervisorFailed
from holdfast.engine.libvirt_domain import read_definition
from holdfast.engine.libvirt_machine import LibvirtMachine

LEFT_JOB_BITMAP = "Bitmap already exists: backup-"
"""What libvirt says of a bitmap that an earlier daemon copied by, before the disk's name."""
_JOB = "backup-"
_POLL_SECONDS = 0.05
_CANCEL_SECONDS = 30.0


async def take_leftovers(machine: LibvirtMachine, folders: Collection[Path], prefix: str) -> None:
    """Remove from a running machine's QEMU what libvirt does not know.

    That are the files that were to be written in ``folders``, the copying to them, and the bitmaps
    of checkpoints that are not recorded, of those whose names begin with ``prefix``, and those that
    libvirt itself copies by. To be called only while libvirt knows of no backup of the machine.
    What another program has made stays. What cannot be removed, or where the host does not let us
    ask QEMU, stays too: it costs something, but is in no backup's way.
    """
    with contextlib.suppress(HypervisorFailed):
        known = set(await machine.checkpoints())
        disks = read_definition(await machine.definition(live=True)).disks
        targets = {disk.target for disk in disks}
        nodes: list[dict[str, Any]] = await machine.ask_qemu("query-named-block-nodes", flat=True)
        files = [node for node in nodes if _is_ours(Path(node["file"]), folders)]
        if files:
            await _cancel_jobs(machine)
        for node in nodes:
            for bitmap in node.get("dirty-bitmaps", ()):
                if is_left(name := bitmap.get("name", ""), prefix, known, targets):
                    await _ask(
                        machine, "block-dirty-bitmap-remove", node=node["node-name"], name=name
                    )
        for name in _topmost_first(files):
            await _ask(machine, "blockdev-del", **{"node-name": name})


async def _ask(machine: LibvirtMachine, command: str, **arguments: str) -> None:
    """Have QEMU do something if it can: what goes away by itself meanwhile is fine."""
    with contextlib.suppress(HypervisorFailed):
        await machine.ask_qemu(command, **arguments)


def _is_ours(file: Path, folders: Collection[Path]) -> bool:
    return file.name.endswith(PARTIAL_SUFFIX) and file.parent in folders


def is_left(bitmap: str, prefix: str, known: Collection[str], targets: Collection[str]) -> bool:
    """Say whether a bitmap is left over: made for us, and of no checkpoint that is recorded.

    ``known`` are the names of the checkpoints, and ``targets`` the disks of the machine: libvirt
    names the bitmap that it copies a disk by after it. Others may have names much like these.
    """
    if bitmap in known:
        return False
    made_by_libvirt = bitmap.startswith(_JOB) and bitmap.removeprefix(_JOB) in targets
    return made_by_libvirt or bitmap.startswith(prefix)


def _topmost_first(nodes: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of nodes so that none comes after the one that it lies on."""
    return [node["node-name"] for node in sorted(nodes, key=lambda node: node["drv"] == "file")]


async def _cancel_jobs(machine: LibvirtMachine) -> None:
    """Cancel the copying that goes on, and wait for its end."""
    with contextlib.suppress(TimeoutError, HypervisorFailed):
        async with asyncio.timeout(_CANCEL_SECONDS):
            while jobs := await _copying(machine):
                for job in jobs:
                    command = "job-dismiss" if job["status"] == "concluded" else "job-cancel"
                    await _ask(machine, command, id=job["id"])
                await asyncio.sleep(_POLL_SECONDS)


async def _copying(machine: LibvirtMachine) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = await machine.ask_qemu("query-jobs")
    return [job for job in jobs if job["type"] == "backup" and job["id"].startswith(_JOB)]
