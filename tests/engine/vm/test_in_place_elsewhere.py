"""A restore in place to a host that has other folders under the paths of its disks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import libvirt
import pytest

from holdfast.engine import libvirt_same_folder
from holdfast.engine.errors import EngineError
from holdfast.engine.libvirt_connection import LibvirtConnection, connected
from holdfast.engine.libvirt_in_place import restore_in_place
from holdfast.engine.libvirt_restore import RestorePlan, restore_machine
from holdfast.engine.restored_files import NoLedger, WholeFile

from .lab import Guest, RemoteConnection, back_up
from .system_host import system_daemon

pytestmark = pytest.mark.vm


async def test_a_file_here_is_not_taken_for_the_disk_that_the_host_has_under_its_path(
    connection: LibvirtConnection, make_guest: Callable[..., Guest], folder: Path, tmp_path: Path
) -> None:
    guest = make_guest(targets=("vda",))
    point = (await back_up(connection, guest, folder, "p0")).point
    disks = tmp_path / "there"
    disks.mkdir()
    with system_daemon(disks) as daemon:
        direct = libvirt.open(daemon.uri)
        there = Guest(daemon, "there", disks, direct)
        ours = there.add_disk("vda").path
        theirs = daemon.folder / "apart" / ours.name
        shutil.copy(ours, theirs)
        ours.write_bytes(b"a file of somebody here")
        there.define()
        plan = RestorePlan(replace(point, uuid=there.uuid), folder, folder)
        before = theirs.read_bytes()
        async with connected(daemon.uri) as far:
            with pytest.raises(EngineError, match=rf"The folder {disks} of \S+ is another one"):
                await restore_in_place(far, plan)
            # Nor is a new machine told as restored whose disks are not there.
            new = RestorePlan(point, folder, disks, "copy", True)
            with pytest.raises(EngineError, match=rf"The folder {disks} of \S+ is another one"):
                await restore_machine(far, new)
            assert [domain.name() for domain in direct.listAllDomains()] == ["there"]
        assert ours.read_bytes() == b"a file of somebody here"
        assert theirs.read_bytes() == before
        assert [path.name for path in disks.iterdir()] == [ours.name]
        direct.lookupByName("there").undefine()
        direct.close()


async def test_a_share_that_goes_while_disks_are_copied_keeps_them_from_being_replaced(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest.write_something(0)
    point = (await back_up(connection, guest, folder, "p0")).point
    guest.power_off()
    before = {target: disk.path.read_bytes() for target, disk in guest.disks.items()}
    leave = libvirt_same_folder._leave
    remote = cast(LibvirtConnection, RemoteConnection(connection))
    monkeypatch.setattr(libvirt_same_folder, "_SHOWN_SECONDS", 0.0)

    class Unmounted(NoLedger):
        async def naming(self, files: Sequence[WholeFile]) -> None:  # noqa: ARG002
            monkeypatch.setattr(
                libvirt_same_folder, "_leave", lambda path, held: leave(tmp_path / path.name, held)
            )

    plan = RestorePlan(point, folder, folder)
    with pytest.raises(EngineError, match="is another one than the backup server has"):
        await restore_in_place(remote, plan, ledger=Unmounted())
    assert {t: disk.path.read_bytes() for t, disk in guest.disks.items()} == before
    assert {path.suffix for path in guest.folder.iterdir()} == {".qcow2"}
    monkeypatch.undo()
    await restore_in_place(remote, plan)
