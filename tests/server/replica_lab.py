"""A server with two hosts and a machine on the first that has a replica on the second."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt
import libvirt_qemu
from sqlalchemy import Connection

from engine.vm.lab import Guest, Host, remove_domain
from holdfast.engine.progress import ignore_progress
from holdfast.server import failover_sessions, replicas, tables
from holdfast.server.backup_server import BackupServer
from holdfast.server.failover_record import Operation, record_of
from holdfast.server.failover_specification import FailoverOptions
from holdfast.server.libvirt_platform import LibvirtPlatform
from holdfast.server.libvirt_references import machine_reference
from holdfast.server.messages import Command
from holdfast.server.platform import HostAccess, HostFacts
from holdfast.server.publish import row_of
from support.cut_off import cut_off

from .lab import HandClock, Lab

_numbers = count(1)
#: So long that the name of its folder is not the job's own.
JOB_NAME = "Репликация виртуальных машин бухгалтерии на второй сервер в подвале"


class QuickPlatform(LibvirtPlatform):
    """Real hosts, but for the guest that is booted to see what the processor can do."""

    async def probe(self, _access: HostAccess) -> HostFacts:
        return HostFacts(hostname="host", hypervisor="7.2", library="9.0", acceleration="tcg")


@dataclass
class ReplicaLab:
    """A machine, its replica, and what they ought to hold."""

    lab: Lab
    guest: Guest
    target: Host
    direct: Any
    job: UUID
    uid: UUID = field(init=False)

    @property
    def domain(self) -> Any:
        return self.direct.lookupByName(f"{self.guest.name}_replica")

    @property
    def layers(self) -> list[Path]:
        return list(self.lab.folder.glob("datastore/*/failover-*"))

    async def replicate(self, result: str = "Success") -> str:
        """Run the job, which ends so; return how the machine was replicated."""
        session = await self.lab.begin(self.job)
        await self.lab.server.wait_until_idle()
        self.lab.clock.advance(timedelta(minutes=10))
        tasks = await self.lab.resources("ReplicaTaskSession")
        made = [task.values for task in tasks if task.relations["job_session"] == session]
        assert all(task["Result"] == result for task in made), made
        return str(made[0]["Reason"])

    async def row(self) -> Any:
        return await self.lab.server._store.read(lambda c: replicas.find_replica(c, self.uid))

    async def shown(self) -> dict[str, Any]:
        """The values of the replica as published."""
        return (await self.lab.resource("Replica", self.uid)).values

    async def state(self) -> str:
        """The state, once nothing is under way any more."""
        row = await self.row()
        record = record_of(row)
        assert record is None or record.doing is None, record
        return str(row.state)

    async def points(self) -> list[Any]:
        return await self.lab.server._store.read(lambda c: replicas.points_of(c, self.uid))

    async def do(self, operation: str, target: UUID | None = None, **options: Any) -> Any:
        """Have an operation done to its end; return its session as published."""
        outcome = await self.lab.command(operation, target or self.uid, **options)
        assert outcome.made is not None, outcome.message
        await self.lab.server.wait_until_idle()
        return await self.lab.resource("RestoreSession", outcome.made.uid)

    async def killed_while(self, operation: str, waits: int) -> int:
        """Have another server on the folder killed in an operation; start this one again.

        Return how it ended.
        """
        await self.lab.server.stop()
        arguments = [str(self.lab.folder), str(self.uid), operation, str(waits)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.replica_lab", *arguments, env=_environment()
        )
        ended = await process.wait()
        self.lab.server = _server(self.lab.folder, self.lab.clock)
        await self.lab.server.start()
        await self.lab.server.wait_until_idle()
        return ended

    def write(self, offset: int, length: int, pattern: int) -> None:
        """Write on the replica, as its guest would."""
        with suppress(libvirt.libvirtError):
            self.domain.suspend()
        backend = "/machine/peripheral/virtio-disk0/virtio-backend"
        for command in (f"write -P {pattern} {offset} {length}", "flush"):
            said = libvirt_qemu.qemuMonitorCommand(
                self.domain,
                f'qemu-io -d {backend} "{command}"',
                libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
            )
            assert not said.strip(), said

    def disk(self) -> bytes:
        """What the replica's disk holds."""
        path = self.domain.XMLDesc(0).partition("<source file='")[2].partition("'")[0]
        return read_disk(Path(path), self.lab.folder / "raw")

    def source_disk(self) -> bytes:
        return read_disk(self.guest.disks["vda"].path, self.lab.folder / "raw")


def _environment() -> dict[str, str]:
    """As this process, with everything that it can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def read_disk(path: Path, to: Path) -> bytes:
    command = ["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", path, to]
    subprocess.run(command, check=True)
    return to.read_bytes()


def patched(content: bytes, offset: int, length: int, pattern: int) -> bytes:
    return content[:offset] + bytes([pattern]) * length + content[offset + length :]


@contextmanager
def guest_maker(host: Host, folder: Path) -> Iterator[Callable[[], Guest]]:
    """Make machines, powered on but paused, and take them all away in the end."""
    direct = libvirt.open(host.uri)
    made: list[Guest] = []

    def make() -> Guest:
        guest = Guest(host, f"db{next(_numbers)}", folder, direct)
        made.append(guest)
        guest.add_disk("vda")
        guest.define()
        guest.start()
        return guest

    try:
        yield make
    finally:
        for guest in made:
            with suppress(libvirt.libvirtError):
                guest.discard()
        direct.close()


async def killed(replica: ReplicaLab, operation: Operation, waits: int, **how: Any) -> bool:
    """Carry an operation out up to its nth wait, as if the server had died then, and recover.

    Say whether it came to its end before.
    """
    failovers = replica.lab.server._failovers._failovers
    async with under_way(replica, operation, **how) as row:
        finished = await cut_off(lambda: failovers.carry_out(row, ignore_progress), waits)
        await failovers.recover(replica.uid)
    return finished


@asynccontextmanager
async def under_way(replica: ReplicaLab, operation: Operation, **how: Any) -> AsyncIterator[Any]:
    """Have a session of an operation for the time of a block: the server itself leaves it alone."""
    options = FailoverOptions(seconds=1, force=True, **how)

    def begin(connection: Connection) -> object:
        uid = failover_sessions.begin(connection, replica.uid, operation, options, 0)
        return row_of(connection, tables.failover_session, uid)

    row = await replica.lab.write(begin)
    yield row
    await replica.lab.write(lambda c: failover_sessions.end(c, row.uid, 0, failure="killed"))


@asynccontextmanager
async def replica_lab(
    folder: Path, clock: HandClock, source: Host, target: Host, *guests: Guest
) -> AsyncIterator[list[ReplicaLab]]:
    """Run a server on a folder, with machines that have a replica of two points each."""
    direct = libvirt.open(target.uri)
    lab = Lab(_server(folder, clock), clock, folder)
    try:
        await lab.server.start()
        lab.repository = await lab.server.add_repository("Main", lab.repository_path)
        yield await _made(lab, source, target, guests, direct)
    finally:
        await lab.server.stop()
        for domain in direct.listAllDomains():
            with suppress(libvirt.libvirtError):
                remove_domain(target, domain)
        direct.close()


def _server(folder: Path, clock: HandClock) -> BackupServer:
    return BackupServer(folder / "server", "backup01", clock=clock, platform=QuickPlatform())


async def killed_in_the_middle(folder: Path, replica: UUID, operation: str, waits: int) -> None:
    """Run a server and have it do an operation; at the nth wait in that, kill this process."""
    server = _server(folder, HandClock())
    await server.start()
    await server.wait_until_idle()
    failovers = server._failovers._failovers
    carry_out = failovers.carry_out

    def die() -> BaseException:
        os.kill(os.getpid(), signal.SIGKILL)
        return KeyboardInterrupt()

    async def cut_short(row: Any, on_progress: Any) -> str:
        await cut_off(lambda: carry_out(row, on_progress), waits, die)
        return ""

    failovers.carry_out = cut_short  # type: ignore[method-assign]
    options = {"seconds": 1, "force": True}
    command = Command(request_id=uuid4(), operation=operation, target=replica, arguments=options)
    await server.execute(command)
    await server.wait_until_idle()
    await server.stop()


async def _made(
    lab: Lab, source: Host, target: Host, guests: Sequence[Guest], direct: Any
) -> list[ReplicaLab]:
    source_host = await _host(lab, source, "source")
    target_host = await _host(lab, target, "target")
    references = [machine_reference(source_host, guest.uuid) for guest in guests]
    arguments = {
        "name": JOB_NAME,
        "kind": "Replica",
        "objects": [{"reference": reference} for reference in references],
        "target": {"host": str(target_host), "folder": str(lab.folder / "datastore")},
    }
    wanted = Command(request_id=uuid4(), operation="create-job", arguments=arguments)
    outcome = await lab.server.execute(wanted)
    assert outcome.made is not None, outcome.message
    made = [ReplicaLab(lab, guest, target, direct, outcome.made.uid) for guest in guests]
    for number in range(2):
        for each in made:
            each.guest.write_something(number)
        await made[0].replicate()
    rows = {row.source_uuid: row.uid for row in await lab.rows(tables.replica)}
    for each in made:
        each.uid = rows[each.guest.uuid]
    return made


async def _host(lab: Lab, host: Host, name: str) -> UUID:
    outcome = await lab.command("add-host", **host.named(name))
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


if __name__ == "__main__":
    asyncio.run(
        killed_in_the_middle(Path(sys.argv[1]), UUID(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    )
