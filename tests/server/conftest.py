"""A backup server with a repository, in a temporary folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import libvirt
import pytest

from engine.vm.lab import Guest, Host, libvirt_daemon

from .lab import HandClock, Lab, running_lab
from .replica_lab import ReplicaLab, guest_maker, replica_lab
from .toy_platform import HERE, THERE, ToyPlatform

# Errors that tests bring about, libvirt would write to the terminal as well.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock) as lab:
        yield lab


@pytest.fixture
def open_lab(tmp_path: Path, clock: HandClock) -> Callable[[], AbstractAsyncContextManager[Lab]]:
    """Start a server on the same folder, as often as wanted, one after the other."""
    return lambda: running_lab(tmp_path, clock)


@pytest.fixture
def platform() -> ToyPlatform:
    """Hosts of virtual machines, for the servers that are started with it."""
    platform = ToyPlatform()
    platform.add(HERE, "kvm1")
    platform.add(THERE, "kvm2")
    return platform


@pytest.fixture(scope="module")
def source_host() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture(scope="module")
def target_host() -> Iterator[Host]:
    with libvirt_daemon() as running:
        yield running


@pytest.fixture
def make_source(source_host: Host, tmp_path: Path) -> Iterator[Callable[[], Guest]]:
    with guest_maker(source_host, tmp_path) as make:
        yield make


@pytest.fixture
async def replica(
    source_host: Host,
    target_host: Host,
    make_source: Callable[[], Guest],
    tmp_path: Path,
    clock: HandClock,
) -> AsyncIterator[ReplicaLab]:
    """A machine that runs on one host, and has a replica on the other."""
    async with replica_lab(tmp_path, clock, source_host, target_host, make_source()) as made:
        yield made[0]
