"""Guests that boot a real kernel, of which one program is all the rest.

``make tools`` puts the kernel's package, unpacked, into ``.venv/kernel``.
"""

from __future__ import annotations

import json
import lzma
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import libvirt_qemu

from engine.lab import wait_until

from .lab import Guest

KERNEL = Path(os.environ.get("HOLDFAST_KERNEL", Path(sys.prefix) / "kernel"))
BLOCK = 4096
_STEP = 2053
_SOURCES = Path(__file__).parent


def kernel() -> Path:
    """Return the kernel's image."""
    [found] = (KERNEL / "boot").glob("vmlinuz-*")
    return found


def with_agent(folder: Path) -> dict[str, Any]:
    """Return how a machine is to be made whose guest has an agent (`agent_guest.c`)."""
    initrd = folder / "initrd"
    write_initrd(initrd, "agent_guest")
    return {
        "memory": 192,
        "firmware": f"<kernel>{kernel()}</kernel><initrd>{initrd}</initrd>"
        "<cmdline>quiet panic=-1</cmdline>",
        "extra": "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
        "</channel>",
    }


def let_run(guest: Guest) -> None:
    """Let a guest with an agent boot, until that answers."""
    guest.domain.resume()
    wait_until(lambda: "state='connected'" in guest.domain.XMLDesc(0), seconds=200)


def ask_agent(guest: Guest, command: str, **arguments: Any) -> Any:
    text = json.dumps({"execute": command, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(guest.domain, text, 60, 0))["return"]


def is_frozen(guest: Guest) -> bool:
    return bool(ask_agent(guest, "guest-fsfreeze-status") == "frozen")


def write_initrd(path: Path, name: str = "writing_guest") -> None:
    """Write what the kernel boots into: the program of that name and the drivers it needs."""
    program = path.with_suffix(".program")
    source = _SOURCES / f"{name}.c"
    subprocess.run(["gcc", "-static", "-O2", "-o", program, source], check=True)
    files = {"init": program.read_bytes()}
    for module in sorted(KERNEL.rglob("virtio*.ko*")):
        content = module.read_bytes()
        packed = module.suffix == ".xz"
        files[f"{module.name.split('.')[0]}.ko"] = lzma.decompress(content) if packed else content
    with path.open("wb") as archive:
        for number, (name, content) in enumerate(files.items(), start=1):
            archive.write(_entry(name, content, number, 0o100755))
        archive.write(_entry("TRAILER!!!", b"", 0, 0))


def _entry(name: str, content: bytes, number: int, mode: int) -> bytes:
    """Return an entry of a cpio archive of the form that Linux calls "newc"."""
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def newest_number(disk: bytes) -> int:
    """Given the disk that the guest counts on, return the number it had come to."""
    return max(number for (number,) in struct.iter_unpack(f"<Q{BLOCK - 8}x", disk))


def disk_at(number: int, size: int) -> bytes:
    """Return what is on the disk that the guest counts on, of so many bytes, at a number."""
    blocks = size // BLOCK
    content = bytearray(size)
    for n in range(max(number - blocks, 0) + 1, number + 1):
        start = n * _STEP % blocks * BLOCK
        content[start : start + BLOCK] = struct.pack("<Q", n) * (BLOCK // 8)
    return bytes(content)
