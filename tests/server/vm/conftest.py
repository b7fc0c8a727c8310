"""A libvirt daemon, machines on it, and a server that knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import libvirt
import pytest

from engine.vm.lab import Guest, Host, libvirt_daemon
from server.lab import HandClock

from .lab import HostedLab, running_hosted_lab

_numbers = count(1)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture
def make_guest(daemon: Host, tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """Make a machine, powered on but paused, and take all machines away in the end."""
    direct = libvirt.open(daemon.uri)
    disks = tmp_path / "disks"
    disks.mkdir()
    made: list[Guest] = []

    def make(*targets: str, **more: str) -> Guest:
        guest = Guest(daemon, f"kept{next(_numbers)}", disks, direct, **more)
        made.append(guest)
        for target in targets or ("vda",):
            guest.add_disk(target)
        guest.define()
        guest.start()
        return guest

    yield make
    for guest in made:
        with suppress(libvirt.libvirtError):
            guest.discard()
    # The daemon may have been killed and started again since.
    last = libvirt.open(daemon.uri)
    for domain in last.listAllDomains():
        with suppress(libvirt.libvirtError):
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
        with suppress(libvirt.libvirtError):
            domain.destroy()
    last.close()
    with suppress(libvirt.libvirtError):
        direct.close()


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock, daemon: Host) -> AsyncIterator[HostedLab]:
    async with running_hosted_lab(tmp_path, clock, daemon) as lab:
        yield lab
