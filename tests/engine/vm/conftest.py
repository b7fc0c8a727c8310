"""Factories for tests with machines."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import libvirt
import pytest

from holdfast.engine.libvirt_connection import LibvirtConnection, connected

from .lab import Guest, Host, libvirt_daemon, remove_domain

libvirt.registerErrorHandler(lambda _context, _error: None, None)

_numbers = count(1)


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture(scope="session")
def target_host() -> Iterator[Host]:
    """A second host: it has machines of its own, and sees the same files as the first."""
    with libvirt_daemon() as running:
        yield running


@pytest.fixture
async def target_connection(target_host: Host) -> AsyncIterator[LibvirtConnection]:
    async with connected(target_host.uri) as opened:
        yield opened


@pytest.fixture
def target_machines(target_host: Host) -> Iterator[libvirt.virConnect]:
    """The second host, to look at directly; its machines are taken away in the end."""
    direct = libvirt.open(target_host.uri)
    yield direct
    for domain in direct.listAllDomains():
        with suppress(libvirt.libvirtError):
            remove_domain(target_host, domain)
    direct.close()


@pytest.fixture
async def connection(host: Host) -> AsyncIterator[LibvirtConnection]:
    async with connected(host.uri) as opened:
        yield opened


@pytest.fixture
def make_guest(host: Host, tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """Make a machine, powered on but paused, and take all machines away in the end."""
    direct = libvirt.open(host.uri)
    disks = tmp_path / "disks"
    disks.mkdir()

    made = []

    def make(
        *,
        targets: tuple[str, ...] = ("vda", "vdb"),
        started: bool = True,
        **more: Any,
    ) -> Guest:
        # Of one width, so that their order by name is the order in which they were made.
        guest = Guest(host, f"web{next(_numbers):04}", disks, direct, **more)
        made.append(guest)
        for target in targets:
            guest.add_disk(target)
        guest.define()
        if started:
            guest.start()
        return guest

    yield make
    for guest in made:
        with suppress(libvirt.libvirtError):  # the test itself has removed it
            guest.discard()
    direct.close()


@pytest.fixture
def guest(make_guest: Callable[..., Guest]) -> Guest:
    """A machine with two disks, paused."""
    return make_guest()
