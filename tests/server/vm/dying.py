"""A backup server that is killed in the middle of something, at a moment that is given.

Run with the folder of a lab, the moment, and what is to be done, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from holdfast.engine import libvirt_instant, libvirt_push, libvirt_restore, restored_files
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_secret import lend_secret
from holdfast.server import hosted_restore
from holdfast.server.backup_server import BackupServer
from holdfast.server.messages import Command
from server.vm.lab import QuickPlatform


async def die(*_arguments: Any, **_more: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def lent_and_dead(*arguments: Any) -> None:
    await lend_secret(*arguments)
    await die()


def die_at(moment: str) -> None:
    if moment == "written":
        hosted_restore._SessionLedger.naming = die  # type: ignore[method-assign]
    elif moment == "starting":
        LibvirtMachine.start = die  # type: ignore[method-assign]
    elif moment == "migrating":
        # QEMU goes on with the first disk, and nobody asks for the second.
        LibvirtMachine.block_job = die  # type: ignore[method-assign]
    elif moment == "pivoted":
        libvirt_instant._settle_down = die
    elif moment == "frozen":
        LibvirtMachine.begin_backup = die  # type: ignore[method-assign]
    elif moment == "lent":
        for module in (libvirt_push, libvirt_restore):
            module.lend_secret = lent_and_dead  # type: ignore[attr-defined]
    elif moment == "discarding":
        LibvirtMachine.undefine = die  # type: ignore[method-assign]
    else:
        name, calls = restored_files._name, []

        async def once(*arguments: Any) -> None:
            if calls:
                await die()
            calls.append(arguments)
            await name(*arguments)

        restored_files._name = once


async def main(folder: Path, moment: str, request: dict[str, Any]) -> None:
    server = BackupServer(folder / "server", "backup01", platform=QuickPlatform())
    die_at(moment)
    await server.start()
    operation, target = request.pop("operation"), UUID(request.pop("target"))
    outcome = await server.execute(
        Command(request_id=uuid4(), operation=operation, target=target, arguments=request)
    )
    print(outcome.message, file=sys.stderr)
    await server.wait_until_idle()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
