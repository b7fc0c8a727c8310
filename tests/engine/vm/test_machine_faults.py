"""Machines that are off, backups that are stopped, hosts that hang, and what is left after each."""

# ruff: noqa: ASYNC221, ASYNC240 - a test has the event loop for itself

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from engine.lab import MIB, SOURCE
from holdfast.engine import libvirt_backup
from holdfast.engine.errors import (
    HypervisorFailed,
    HypervisorUnavailable,
    MachineBusy,
    MachineMissing,
    NoSpace,
    RepositoryUnavailable,
    ScriptFailed,
    ToolMissing,
)
from holdfast.engine.libvirt_backup import back_up_machine
from holdfast.engine.libvirt_connection import LibvirtConnection, connected
from holdfast.engine.libvirt_ladder import Rung
from holdfast.engine.libvirt_machine import LibvirtMachine
from holdfast.engine.libvirt_tidy import end_interrupted_backup, release_checkpoints
from holdfast.engine.libvirt_work import MachinePlan
from holdfast.engine.progress import Progress
from holdfast.engine.script import Script

from .lab import Guest, Host, back_up, libvirt_daemon, restored_disks

pytestmark = pytest.mark.vm


@pytest.fixture
def large_guest(make_guest: Callable[..., Guest]) -> Guest:
    """A machine whose backup takes long enough to be disturbed."""
    guest = make_guest(started=False, targets=("vda",))
    guest.add_disk("vdb", size=192 * MIB)
    guest.define()
    guest.start()
    guest.write_something(0)
    guest.write("vdb", 0, 160 * MIB, 5)
    return guest


async def copying(folder: Path) -> None:
    """Wait until QEMU has begun to copy, by what it has written."""
    while not any(path.stat().st_size > 2 * MIB for path in folder.glob("*.vdb.*.partial")):
        await asyncio.sleep(0.001)


async def test_machine_that_is_off_stays_off_and_keeps_its_checkpoints(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    guest.write_something(0)
    guest.power_off()
    full = await back_up(connection, guest, folder, "p0")
    assert not guest.domain.isActive()
    guest.start()
    guest.write_something(1)
    guest.power_off()
    result = await back_up(connection, guest, folder, "p1", full)
    assert not guest.domain.isActive()
    assert result.rung is Rung.CHANGED_BLOCKS
    assert result.consistency == "powered off"
    assert (result.warnings, result.notes) == ((), ())
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    guest.ensure_untouched()
    # The end of the chain, while the machine is off: records and bitmaps go.
    assert len(guest.bitmaps("vda")) == 2
    await release_checkpoints(connection, guest.uuid, "c1")
    assert guest.checkpoints() == guest.bitmaps("vda") == guest.bitmaps("vdb") == []


@pytest.mark.parametrize("compressing", [False, True], ids=["copying", "compressing"])
@pytest.mark.parametrize("off", [False, True], ids=["running", "off"])
async def test_stopped_backup_leaves_nothing(
    connection: LibvirtConnection,
    large_guest: Guest,
    folder: Path,
    compressing: bool,
    off: bool,
) -> None:
    guest = large_guest
    if off:
        guest.power_off()
    reached = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.fraction >= 0.6:
            reached.set()

    plan = MachinePlan(guest.uuid, folder, "p0", "c1")
    task = asyncio.create_task(back_up_machine(connection, plan, watch))
    await (reached.wait() if compressing else copying(folder))
    with pytest.raises(MachineBusy, match="being backed up already"):
        await back_up(connection, guest, folder, "other")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(folder.iterdir()) == []
    assert guest.checkpoints() == []
    assert guest.domain.isActive() == (not off)
    guest.ensure_untouched()
    if off:
        assert guest.bitmaps("vda") == []


async def test_qemu_killed_during_a_backup(
    connection: LibvirtConnection, large_guest: Guest, folder: Path, tmp_path: Path
) -> None:
    guest = large_guest
    full = await back_up(connection, guest, folder, "p0")
    guest.write("vdb", 0, 160 * MIB, 6)
    task = asyncio.create_task(back_up(connection, guest, folder, "p1", full))
    await copying(folder)
    os.kill(guest.pid, signal.SIGKILL)
    with pytest.raises(HypervisorFailed):
        await task
    assert not [path for path in folder.iterdir() if path.name.startswith("p1")]
    assert "holdfast.c1.p1" not in guest.checkpoints()
    guest.start()
    result = await back_up(connection, guest, folder, "p2", full)
    assert result.rung is Rung.DIFFERENCE
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()


KILLED = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from holdfast.engine.libvirt_backup import back_up_machine
    from holdfast.engine.libvirt_connection import connected
    from holdfast.engine.libvirt_work import MachinePlan

    def kill(progress):
        if progress.fraction > 0.02:
            os.kill(os.getpid(), signal.SIGKILL)

    async def main():
        async with connected(sys.argv[1]) as connection:
            plan = MachinePlan(sys.argv[2], Path(sys.argv[3]), "p0", "c1")
            await back_up_machine(connection, plan, kill)

    asyncio.run(main())
"""


async def test_killed_holdfast_leaves_what_the_next_backup_takes_away(
    connection: LibvirtConnection,
    large_guest: Guest,
    folder: Path,
    tmp_path: Path,
    run_script: Callable[..., object],
) -> None:
    guest = large_guest
    guest.power_off()
    run_script(KILLED, guest.host.uri, guest.uuid, folder)
    assert guest.domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    done = await end_interrupted_backup(connection, guest.uuid, {folder}, "c1")
    assert "The machine, left started and paused, was powered off again." in done
    assert not guest.domain.isActive()
    assert guest.checkpoints() == ["holdfast.c1.p0"]
    result = await back_up(connection, guest, folder, "p1")
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    # A full keeps the newest one before it, in case it fails; the next point does not.
    assert guest.checkpoints() == guest.bitmaps("vda") == ["holdfast.c1.p0", "holdfast.c1.p1"]
    await back_up(connection, guest, folder, "p2", result)
    assert guest.checkpoints() == guest.bitmaps("vda") == ["holdfast.c1.p1", "holdfast.c1.p2"]
    guest.ensure_untouched()


async def test_what_was_left_is_taken_away_also_where_the_parent_cannot_be_checked(
    connection: LibvirtConnection,
    large_guest: Guest,
    folder: Path,
    run_script: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest = large_guest
    result = await back_up(connection, guest, folder, "a0")
    guest.power_off()
    run_script(KILLED, guest.host.uri, guest.uuid, folder)
    assert guest.domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED

    async def unchecked(*_: object) -> None:
        raise ToolMissing("There is no qemu-img.")

    monkeypatch.setattr(libvirt_backup, "misfit_of", unchecked)
    with pytest.raises(ToolMissing):
        await back_up(connection, guest, folder, "p1", result)
    assert not guest.domain.isActive()


async def test_machine_resumed_by_somebody_during_its_backup_goes_on_running(
    connection: LibvirtConnection, large_guest: Guest, folder: Path
) -> None:
    guest = large_guest
    guest.power_off()

    def resume(_progress: Progress) -> None:
        if guest.domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            guest.domain.resume()

    plan = MachinePlan(guest.uuid, folder, "p0", "c1")
    await back_up_machine(connection, plan, resume)
    assert guest.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    guest.ensure_untouched()


async def test_backup_of_another_program_is_left_alone(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    # A program that pulls keeps the job going for as long as it likes.
    xml = (
        f"<domainbackup mode='pull'><server transport='unix' socket='{guest.host.folder}/nbd'/>"
        "<disks><disk name='vdb' backup='yes' type='file'>"
        f"<scratch file='{tmp_path}/scratch.qcow2'/></disk></disks></domainbackup>"
    )
    guest.domain.backupBegin(xml, None, 0)
    with pytest.raises(MachineBusy, match="Another program is backing up"):
        await back_up(connection, guest, folder, "p0")
    assert guest.domain.jobStats()["type"] != libvirt.VIR_DOMAIN_JOB_NONE
    guest.domain.abortJob()


@pytest.mark.parametrize("late", [False, True])
async def test_full_disk_is_told_and_leaves_nothing(
    connection: LibvirtConnection,
    large_guest: Guest,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    late: bool,
) -> None:
    """The file size limit of QEMU's process stands in for a small disk."""
    subprocess.run(["prlimit", "--pid", str(large_guest.pid), f"--fsize={32 * MIB}"], check=True)
    begin = LibvirtMachine.begin_backup

    async def begin_and_fail(machine: LibvirtMachine, *arguments: str | None) -> None:
        await begin(machine, *arguments)
        # When Holdfast looks, libvirt has removed the files again.
        while large_guest.domain.jobStats()["type"] != libvirt.VIR_DOMAIN_JOB_NONE:
            await asyncio.sleep(0.05)

    if late:
        monkeypatch.setattr(LibvirtMachine, "begin_backup", begin_and_fail)
    with pytest.raises(NoSpace, match="bytes are free"):
        await back_up(connection, large_guest, folder, "p0")
    assert list(folder.iterdir()) == []


async def test_folder_that_qemu_cannot_write_to(
    connection: LibvirtConnection, guest: Guest, tmp_path: Path
) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(RepositoryUnavailable, match="QEMU may not write into"):
        await back_up(connection, guest, folder, "p0")
    assert guest.checkpoints() == []


async def test_scripts_run_before_and_after_and_a_failing_one_is_told(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    record = tmp_path / "record"

    def script(name: str, body: str, limit: float = 10.0) -> Script:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return Script(path, limit)

    before = script("before", f'echo "before $HOLDFAST_MACHINE $HOLDFAST_POINT" >> {record}')
    after = script("after", f"echo after >> {record}; exit 3")
    result = await back_up(connection, guest, folder, "p0", before=before, after=after)
    assert record.read_text() == f"before {guest.name} p0\nafter\n"
    assert "failed (exit code 3)" in result.warnings[0]
    record.unlink()

    slow = script("slow", "exec sleep 60", 0.2)
    with pytest.raises(ScriptFailed, match=r"ran longer than 0\.2 s"):
        await back_up(connection, guest, folder, "p1", before=slow, after=after)
    assert not record.exists()  # nothing was begun
    with pytest.raises(ScriptFailed, match="cannot be found on the backup server"):
        await back_up(connection, guest, folder, "p1", before=Script(tmp_path / "none"))
    assert guest.checkpoints() == ["holdfast.c1.p0"]


async def test_firmware_variables_are_part_of_the_point(
    connection: LibvirtConnection,
    make_guest: Callable[..., Guest],
    folder: Path,
    tmp_path: Path,
) -> None:
    code, variables = tmp_path / "CODE.fd", tmp_path / "VARS.fd"
    code.write_bytes(bytes(256 * 1024))
    variables.write_bytes(b"boot order".ljust(64 * 1024, b"\0"))
    firmware = f"<loader readonly='yes' type='pflash'>{code}</loader><nvram>{variables}</nvram>"
    guest = make_guest(targets=("vda",), firmware=firmware)
    result = await back_up(connection, guest, folder, "p0")
    assert result.point.nvram is not None
    assert (folder / result.point.nvram.name).read_bytes() == variables.read_bytes()
    assert result.warnings == ()


async def test_host_that_hangs_is_told_within_the_time_limit_and_holds_nobody_up(
    host: Host,
) -> None:
    async with connected(host.uri) as connection:
        host.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(HypervisorUnavailable, match=r"no answer within 0\.3 s"):
                await connection.call(
                    lambda _library, connect: connect.getHostname(), doing="asking", time_limit=0.3
                )
            with pytest.raises(HypervisorUnavailable, match="has stopped to answer"):
                await connection.call(lambda _library, _connect: None, doing="asking")
            with pytest.raises(HypervisorUnavailable, match="no answer within"):
                async with connected(host.uri, time_limit=0.3):
                    pass
            # A process does not wait for the hanging call when it ends.
            subprocess.run(
                [sys.executable, "-c", HANGING, host.uri],
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
                timeout=60,
                check=True,
            )
        finally:
            host.process.send_signal(signal.SIGCONT)


HANGING = """
import asyncio, sys
from holdfast.engine.errors import HypervisorUnavailable
from holdfast.engine.libvirt_connection import connected

async def main():
    try:
        async with connected(sys.argv[1], time_limit=0.3):
            sys.exit(1)
    except HypervisorUnavailable:
        pass

asyncio.run(main())
"""


async def test_what_is_not_there_is_named(
    connection: LibvirtConnection, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(HypervisorUnavailable, match="No such file"):
        async with connected(f"qemu+unix:///session?socket={tmp_path}/none"):
            pass
    plan = MachinePlan("00000000-0000-4000-8000-000000000000", folder, "p0", "c1")
    with pytest.raises(MachineMissing, match="no domain with matching uuid"):
        await back_up_machine(connection, plan)


def test_missing_library_is_named_with_what_installs_it(
    run_script: Callable[..., object],
) -> None:
    finished = run_script("""
        import asyncio, sys
        sys.modules["libvirt"] = None
        from holdfast.engine.errors import HypervisorUnavailable
        from holdfast.engine.libvirt_connection import connected

        async def main():
            async with connected("qemu:///system"):
                pass
        try:
            asyncio.run(main())
        except HypervisorUnavailable as error:
            print(error)
    """)
    assert 'pip install "holdfast[libvirt]"' in finished.output


async def test_backup_is_taken_back_when_the_daemon_was_killed_and_is_there_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = LibvirtMachine.begin_backup
    with libvirt_daemon() as host:
        guest = Guest(host, "web", tmp_path, libvirt.open(host.uri))
        guest.add_disk("vda")
        guest.define()
        guest.start()
        guest.write_something(0)
        async with connected(host.uri) as connection:
            full = await back_up(connection, guest, folder, "p0")

        async def killed(machine: LibvirtMachine, backup: str, checkpoint: str | None) -> None:
            await begin(machine, backup, checkpoint)
            host.kill()
            threading.Timer(1.0, host.start).start()

        with monkeypatch.context() as patch:
            patch.setattr(LibvirtMachine, "begin_backup", killed)
            async with connected(host.uri) as connection:
                with pytest.raises(HypervisorUnavailable):
                    await back_up(connection, guest, folder, "p1", full)
        guest.connection = libvirt.open(host.uri)
        assert guest.checkpoints() == ["holdfast.c1.p0"]
        assert [path for path in folder.iterdir() if "p1" in path.name] == []
        guest.write_something(1)
        async with connected(host.uri) as connection:
            second = await back_up(connection, guest, folder, "p2", full)
        assert second.rung is Rung.CHANGED_BLOCKS
        assert guest.bitmaps_in_use() == {"vda": {"holdfast.c1.p0", "holdfast.c1.p2"}}
        assert await restored_disks(second, folder, tmp_path / "out") == guest.contents()


async def test_machine_that_somebody_starts_at_the_same_time_is_not_powered_off(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guest.power_off()
    start_paused = LibvirtMachine.start_paused

    async def too_late(machine: LibvirtMachine, mark: str) -> None:
        guest.start()
        await start_paused(machine, mark)

    monkeypatch.setattr(LibvirtMachine, "start_paused", too_late)
    with pytest.raises(HypervisorFailed, match="already running"):
        await back_up(connection, guest, folder, "p0")
    assert guest.domain.isActive()
    await back_up(connection, guest, folder, "p1")
    assert guest.domain.isActive()


def leave_what_libvirt_does_not_know(guest: Guest, folder: Path) -> None:
    """Do what a daemon does that is killed when it has begun a backup, but has not noted it."""
    [node] = {
        each["node-name"]
        for each in guest.ask_qemu("query-named-block-nodes")
        if each["file"] == str(guest.disks["vda"].path) and each["drv"] == "qcow2"
    }
    file = folder / "lost.vda.qcow2.pushed.partial"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", file, str(8 * MIB)], check=True)
    guest.ask_qemu(
        "blockdev-add", driver="file", filename=str(file), **{"node-name": "libvirt-90-storage"}
    )
    guest.ask_qemu(
        "blockdev-add",
        driver="qcow2",
        file="libvirt-90-storage",
        **{"node-name": "libvirt-90-format"},
    )
    for name, persistent in (("holdfast.c1.lost", True), ("backup-vda", False)):
        guest.ask_qemu("block-dirty-bitmap-add", node=node, name=name, persistent=persistent)
    # At this speed it would take for ever.
    guest.ask_qemu(
        "blockdev-backup",
        device=node,
        target="libvirt-90-format",
        sync="full",
        speed=1,
        **{"job-id": "backup-vda-libvirt-1-format", "auto-dismiss": False},
    )
    file.unlink()


async def test_what_a_killed_daemon_has_left_in_qemu_is_taken_away(
    connection: LibvirtConnection, guest: Guest, folder: Path, tmp_path: Path
) -> None:
    full = await back_up(connection, guest, folder, "p0")
    guest.write_something(0)
    leave_what_libvirt_does_not_know(guest, folder)
    await LibvirtMachine(connection, guest.uuid).mark("beginning")
    result = await back_up(connection, guest, folder, "p1", full)
    assert result.rung is Rung.CHANGED_BLOCKS
    both = {"holdfast.c1.p0", "holdfast.c1.p1"}
    assert guest.bitmaps_in_use() == {"vda": both, "vdb": both}
    assert guest.ask_qemu("query-jobs") == []
    files = {node["file"] for node in guest.ask_qemu("query-named-block-nodes")}
    assert files == {str(disk.path) for disk in guest.disks.values()}
    assert await restored_disks(result, folder, tmp_path / "out") == guest.contents()
    guest.ensure_untouched()


async def test_a_note_of_frozen_file_systems_stops_no_backup_of_a_guest_without_agent(
    connection: LibvirtConnection, guest: Guest, folder: Path
) -> None:
    await LibvirtMachine(connection, guest.uuid).mark("frozen")
    result = await back_up(connection, guest, folder, "p0")
    assert any("may have left file systems frozen" in said for said in result.warnings)
    guest.ensure_untouched()


async def test_what_to_do_is_told_when_libvirt_has_lost_track_of_a_backup(
    connection: LibvirtConnection,
    guest: Guest,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lost(_machine: LibvirtMachine) -> None:
        raise HypervisorFailed("internal error: backup job data missing.")

    with monkeypatch.context() as patch:
        patch.setattr(LibvirtMachine, "backup_job", lost)
        with pytest.raises(HypervisorFailed, match="Power the machine off, restart the daemon"):
            await back_up(connection, guest, folder, "p0")
    assert list(folder.iterdir()) == []
    await back_up(connection, guest, folder, "p0")
