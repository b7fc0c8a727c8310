"""A hypervisor host of the tests' own, and machines whose disks the tests write themselves.

No guest runs an operating system: a machine stands still, paused, and its disks are written through
QEMU as a guest would, with its command ``qemu-io``. QEMU emulates the processor (no KVM), so that
this works anywhere.
"""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu

from engine.lab import MIB, wait_until
from holdfast.engine.image import restore_image
from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_backup import MachineResult, back_up_machine
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_work import MachinePlan

DISK_SIZE = 8 * MIB
_HMP = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP


def as_user() -> list[str]:
    """Return the prefix of a command that is to take this account for a user's, not for root.

    For root, libvirt's daemon is always that of the whole machine. So root is another user there:
    one that every machine has, for libvirt asks for the name.
    """
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return ["unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}"]


class Host:
    """A libvirt daemon of the kind a user runs for himself, in folders of its own."""

    process: subprocess.Popen[bytes]
    #: A folder that QEMU may write to, where it may not write to every one.
    staging: Path | None = None

    def __init__(self, *arguments: str, settings: str = "") -> None:
        self._arguments = arguments
        # Not pytest's folder: the names of Unix sockets may have 107 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="hf-"))
        for name in ("run", "config/libvirt", "cache", "data"):
            (self.folder / name).mkdir(parents=True)
        # Without it, a second daemon would be needed for the logs of machines.
        (self.folder / "config/libvirt/qemu.conf").write_text('stdio_handler = "file"\n')
        (self.folder / "config/libvirt/libvirtd.conf").write_text(settings)
        self.pids = self.folder / "run/libvirt/qemu/run"
        self._socket = self.folder / "run/libvirt/libvirt-sock"
        self.uri = f"qemu+unix:///session?socket={self._socket}"

    def start(self) -> None:
        """Start the daemon; machines that a killed one has left on, it finds again."""
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }
        log = self.folder / "log"
        self._socket.unlink(missing_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.command(), "libvirtd", *self._arguments],
                env=environment,
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: self._answers() or self.process.poll() is not None)
        assert self.process.poll() is None, log.read_text()

    def command(self) -> list[str]:
        """Return what the daemon is to be started with."""
        return as_user()

    def named(self, name: str) -> dict[str, str]:
        """Return what a server is told of this host when it is added by a name."""
        staging = {} if self.staging is None else {"staging": str(self.staging)}
        return {"uri": self.uri, "name": name, **staging}

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(str(self._socket))
            except OSError:
                return False
        return True

    def kill(self) -> None:
        """SIGKILL the daemon. Its machines go on."""
        self.process.kill()
        self.process.wait()

    def discard(self) -> None:
        """End the daemon and its machines, and remove its folders."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(timeout=30)
        for file in self.pids.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
        shutil.rmtree(self.folder)


@contextmanager
def libvirt_daemon(*arguments: str, settings: str = "") -> Iterator[Host]:
    """Run a daemon with arguments and with settings of its `libvirtd.conf`."""
    host = Host(*arguments, settings=settings)
    host.start()
    try:
        yield host
    finally:
        host.discard()


def pid_of(host: Host, name: str) -> int:
    """Given a machine that is on, return the process id of its QEMU."""
    return int((host.pids / f"{name}.pid").read_text())


def remove_domain(host: Host, domain: Any) -> None:
    """Take a machine away at once, without waiting for its end."""
    pid = pid_of(host, domain.name()) if domain.isActive() else None
    domain.undefineFlags(
        libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    )
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


@dataclass
class VirtualDisk:
    """A disk of a machine, with the bytes it ought to hold kept beside it."""

    target: str
    path: Path
    format: str
    content: bytearray


@dataclass
class Guest:
    """A machine of the tests, on their own connection to the host."""

    host: Host
    name: str
    folder: Path
    connection: Any
    disks: dict[str, VirtualDisk] = field(default_factory=dict)
    extra: str = ""
    firmware: str = ""
    metadata: str = ""
    memory: int = 32

    @property
    def domain(self) -> Any:
        return self.connection.lookupByName(self.name)

    @property
    def uuid(self) -> str:
        return str(self.domain.UUIDString())

    def add_disk(
        self, target: str, *, format: str = "qcow2", size: int = DISK_SIZE, options: str = ""
    ) -> VirtualDisk:
        path = self.folder / f"{self.name}-{target}.{format}"
        more = ["-o", options] if options else []
        create = ["qemu-img", "create", "-q", "-f", format, *more, path, str(size)]
        subprocess.run(create, check=True)
        self.disks[target] = VirtualDisk(target, path, format, bytearray(size))
        return self.disks[target]

    def define(self) -> None:
        disks = "".join(
            f"<disk type='file' device='disk'><driver name='qemu' type='{disk.format}'/>"
            f"<source file='{disk.path}'/><target dev='{disk.target}' bus='virtio'/></disk>"
            for disk in self.disks.values()
        )
        identity = ""
        with suppress(libvirt.libvirtError):
            identity = f"<uuid>{self.domain.UUIDString()}</uuid>"
        self.connection.defineXML(
            f"<domain type='qemu'><name>{self.name}</name>{identity}{self.metadata}"
            f"<memory unit='MiB'>{self.memory}</memory><vcpu>1</vcpu>"
            "<os><type arch='x86_64' machine='pc'>hvm"
            f"</type>{self.firmware}</os><features><acpi/></features><devices>{disks}{self.extra}"
            "<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"
        )

    def start(self) -> None:
        self.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    def power_off(self) -> None:
        self.domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)

    @property
    def pid(self) -> int:
        return pid_of(self.host, self.name)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.domain.isActive())

    def write(self, target: str, offset: int, length: int, pattern: int) -> None:
        """Write as the guest would; the machine must be powered on."""
        disk = self.disks[target]
        number = list(self.disks).index(target)
        backend = f"/machine/peripheral/virtio-disk{number}/virtio-backend"
        # Flushed, so that it is there after QEMU was killed, too.
        for command in (f"write -P {pattern} {offset} {length}", "flush"):
            said = libvirt_qemu.qemuMonitorCommand(
                self.domain, f'qemu-io -d {backend} "{command}"', _HMP
            )
            assert not said.strip(), said  # what it wrote goes to the log, an error comes back
        disk.content[offset : offset + length] = bytes([pattern]) * length

    def write_something(self, number: int) -> None:
        """Change a little of each disk, and each disk differently."""
        for place, target in enumerate(self.disks):
            self.write(target, number * 300_032, 70_144, 1 + number * 8 + place)
            self.write(target, 4 * MIB + place * 65536, 4096, 2 + number * 8 + place)

    def discard(self) -> None:
        """Take the machine away at once, without waiting for its end."""
        remove_domain(self.host, self.domain)

    def checkpoints(self) -> list[str]:
        return sorted(found.getName() for found in self.domain.listAllCheckpoints(0))

    def bitmaps(self, target: str) -> list[str]:
        """The bitmaps stored in a disk, while the machine is off."""
        path = self.disks[target].path
        said = subprocess.run(["qemu-img", "info", path], check=True, capture_output=True).stdout
        return re.findall(r"^ +name: (\S+)$", said.decode(), re.MULTILINE)

    def ask_qemu(self, command: str, **arguments: Any) -> Any:
        """Ask QEMU itself, while the machine is on; return what it answers."""
        text = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(self.domain, text, 0))
        assert "return" in answer, answer
        return answer["return"]

    def bitmaps_in_use(self) -> dict[str, set[str]]:
        """The bitmaps that QEMU keeps up for each disk, while the machine is on."""
        found = {}
        for disk, device in zip(self.disks, self.ask_qemu("query-block"), strict=True):
            found[disk] = {each["name"] for each in device["inserted"].get("dirty-bitmaps", ())}
        return found

    def contents(self) -> dict[str, bytes]:
        return {target: bytes(disk.content) for target, disk in self.disks.items()}

    def ensure_untouched(self) -> None:
        """Nothing of a backup is going on in the machine or noted on it."""
        assert "urn:holdfast" not in self.domain.XMLDesc(0)
        if self.domain.isActive():
            assert self.domain.jobStats()["type"] == libvirt.VIR_DOMAIN_JOB_NONE


async def back_up(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    point: str,
    parent: MachineResult | None = None,
    *,
    chain: str = "c1",
    **more: Any,
) -> MachineResult:
    known = None if parent is None else parent.point
    plan = MachinePlan(guest.uuid, folder, point, chain, known, **more)
    return await back_up_machine(connection, plan)


async def restored_disks(result: MachineResult, folder: Path, to: Path) -> dict[str, bytes]:
    """The bytes of a point's disks, put together by a restore to plain files."""
    contents = {}
    for disk in result.point.disks:
        await restore_image(folder / disk.file.name, to, overwrite=True)
        contents[disk.state.target] = to.read_bytes()
    return contents


def wait_for_state(guest: Guest, state: int) -> None:
    limit = time.monotonic() + 60
    while guest.domain.state()[0] != state:
        assert time.monotonic() < limit
        time.sleep(0.02)


class RemoteConnection:
    """A connection as if its host were another machine."""

    uri = "qemu+tls://elsewhere/system"

    def __init__(self, connection: LibvirtConnection) -> None:
        self.call = connection.call


def known(paths: Iterable[Path]) -> list[KnownFile]:
    """Return files that a machine was made with, as they are there now."""
    return [KnownFile.at(path) for path in paths]
