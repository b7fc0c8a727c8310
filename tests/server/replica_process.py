"""A backup server in a process of its own, which starts a job and dies at a given moment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from holdfast.engine import libvirt_push, nbd_transfer
from holdfast.server.backup_server import BackupServer
from holdfast.server.libvirt_platform import LibvirtPlatform
from holdfast.server.messages import Command
from holdfast.server.platform import HostAccess, HostFacts

_send = nbd_transfer.run


async def die(*_arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def die_while_it_sends(*arguments: Any, **options: Any) -> None:
    sending = asyncio.create_task(_send(*arguments, **options))
    await asyncio.sleep(0.03)
    await die(sending)


async def known_facts(_platform: LibvirtPlatform, _access: HostAccess) -> HostFacts:
    return HostFacts(hostname="kvm", hypervisor="7.2.22", library="9.0.0", acceleration="tcg")


def arm(moment: str) -> None:
    LibvirtPlatform.probe = known_facts  # type: ignore[method-assign]
    match moment:
        case "QEMU copies":
            libvirt_push._follow = die
        case "it sends":
            nbd_transfer.run = die_while_it_sends  # type: ignore[assignment]
        case "the point is recorded":
            LibvirtPlatform.define_standby = die  # type: ignore[method-assign]


async def main(folder: Path, job: UUID) -> None:
    server = BackupServer(folder, "backup01")
    await server.start()
    command = Command(request_id=uuid4(), operation="start-job", target=job)
    outcome = await server.execute(command)
    assert outcome.success, outcome.message
    await server.wait_until_idle()


arm(sys.argv[3])
asyncio.run(main(Path(sys.argv[1]), UUID(sys.argv[2])))
