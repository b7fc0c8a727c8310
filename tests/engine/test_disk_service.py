"""Disks served over TLS for a failback: to whom, and what becomes of a server that is silent."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import ssl
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.engine import disk_service
from holdfast.engine.disk_difference import bring_over
from holdfast.engine.disk_service import Image, Served, released, served
from holdfast.engine.errors import ImageInUse, ToolFailed
from holdfast.engine.nbd import NbdDisk, NbdError
from holdfast.engine.transfer_keys import transfer_keys

from .lab import MIB


def made(path: Path, pattern: int) -> Image:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "4M"], check=True)
    write = ["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} 1M 1M", path]
    subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
    return Image(path, "qcow2")


def content(image: Image) -> bytes:
    to = image.path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", image.path, to], check=True)
    return to.read_bytes()


async def test_disk_is_reached_with_its_own_keys_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    source, target = made(tmp_path / "a, b.qcow2", 1), made(tmp_path / "c.qcow2", 2)
    async with transfer_keys(keys, "127.0.0.1") as others, served(source, keys) as place:
        # One connection after the other, of which only the last one may be let in.
        stranger = replace(place, keys=others.sender)
        with pytest.raises((ssl.SSLError, NbdError, ConnectionError)):
            await asyncio.to_thread(lambda: stranger.opened().read(0, 512))
    async with served(source, keys) as place:

        def in_the_clear() -> None:
            NbdDisk(place.place, export="disk", time_limit=20.0)

        with pytest.raises(OSError, match=r"went away|reset"):
            await asyncio.to_thread(in_the_clear)
    moved = []
    async with served(source, keys) as reading, served(target, keys, writable=True) as writing:
        moved.append(await bring_over(reading, writing, None, lambda *_: None))
        with pytest.raises(ImageInUse):
            async with served(target, keys, writable=True) as second:
                await bring_over(second, second, None, lambda *_: None)
    assert (moved[0].read, moved[0].written) == (4 * MIB, MIB)
    assert content(target) == content(source)
    assert not list(keys.iterdir())


async def test_server_of_a_disk_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_service, "_SILENT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = Served(tmp_path / "a.qcow2", listening.getsockname(), tmp_path)
        with pytest.raises(ToolFailed, match="timed out"):
            await bring_over(silent, silent, None, lambda *_: None)


async def test_disk_of_a_machine_that_has_just_ended_is_waited_for(tmp_path: Path) -> None:
    image = tmp_path / "a.qcow2"
    image.touch()
    # As QEMU says that it writes.
    writing = struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0)
    descriptor = os.open(image, os.O_RDWR)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, writing)
        waiting = asyncio.create_task(released(image))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    finally:
        os.close(descriptor)
    async with asyncio.timeout(60):
        await waiting
