"""A guest whose file systems a backup froze is thawed, whatever becomes of the backup."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from engine.lab import wait_until
from holdfast.engine import libvirt_machine
from holdfast.engine.errors import HypervisorFailed, LeftUnfinished, MachineBusy
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_tidy import MARK_FROZEN, end_left_backup

from .booted import KERNEL, ask_agent, is_frozen, let_run, with_agent
from .lab import Guest, back_up

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(not KERNEL.is_dir(), reason="make tools has not fetched a kernel"),
]


async def test_a_guest_with_an_agent_is_frozen_for_an_instant_however_that_ends(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest, seen = make_guest(targets=("vda",), **with_agent(tmp_path)), []
    let_run(guest)
    full = await back_up(connection, guest, folder, "p0")
    assert (full.consistency, full.frozen, full.warnings) == ("quiesced", False, ())
    assert not is_frozen(guest)

    async def refusing(*_arguments: object) -> None:
        seen.append(is_frozen(guest))
        raise HypervisorFailed("no backup now")

    with monkeypatch.context() as changed:
        changed.setattr(LibvirtMachine, "begin_backup", refusing)
        with pytest.raises(HypervisorFailed, match="no backup now"):
            await back_up(connection, guest, folder, "p1", full)
    assert seen == [True]
    assert not is_frozen(guest)
    guest.ensure_untouched()

    # What was cut off right then is thawed first, whatever else cannot be done about it.
    ask_agent(guest, "guest-fsfreeze-freeze")
    await LibvirtMachine(connection, guest.uuid).mark(MARK_FROZEN)
    begin_foreign_backup(guest, tmp_path)
    with pytest.raises(MachineBusy, match="Another program is backing up"):
        await back_up(connection, guest, folder, "p1", full)
    assert not is_frozen(guest)
    guest.domain.abortJob()
    wait_until(lambda: guest.domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE)

    # An agent that answers too late does what it was asked for all the same.
    ask_agent(guest, "be-slow", s=6)
    monkeypatch.setattr(libvirt_machine, "_AGENT_SECONDS", 1)
    late = await back_up(connection, guest, folder, "p2", full)
    assert late.consistency == "crash-consistent"
    assert late.frozen
    assert any("may still be frozen" in each for each in late.warnings)
    with pytest.raises(LeftUnfinished, match="may have left file systems frozen"):
        await end_left_backup(connection, guest.uuid, {folder}, "c1")
    await asyncio.sleep(6)
    assert is_frozen(guest)
    await end_left_backup(connection, guest.uuid, {folder}, "c1")
    assert not is_frozen(guest)
    guest.ensure_untouched()


def begin_foreign_backup(guest: Guest, folder: Path) -> None:
    """A program that pulls keeps the job going for as long as it likes."""
    guest.domain.backupBegin(
        f"<domainbackup mode='pull'><server transport='unix' socket='{guest.host.folder}/nbd'/>"
        "<disks><disk name='vda' backup='yes' type='file'>"
        f"<scratch file='{folder}/scratch.qcow2'/></disk></disks></domainbackup>",
        None,
        0,
    )
