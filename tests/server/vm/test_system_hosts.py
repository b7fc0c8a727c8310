"""Hosts as most are: QEMU runs under an account of its own, and may enter nothing private."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import libvirt
import pytest

from engine.lab import MIB, wait_until
from engine.vm.lab import Guest
from engine.vm.system_host import ACCOUNT_ID, SystemHost, system_daemon
from holdfast.server import instant_records
from server.lab import HandClock, running_lab
from server.replica_lab import guest_maker, patched, replica_lab

from .lab import QuickPlatform, bytes_of, disks_of, entries, hosted_lab

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def daemon() -> Iterator[SystemHost]:
    with system_daemon() as running:
        yield running


@pytest.fixture(scope="module")
def other_daemon() -> Iterator[SystemHost]:
    with system_daemon() as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that may be passed through: pytest's own may be entered by its account alone."""
    made = Path(tempfile.mkdtemp(prefix="hf-"))
    made.chmod(0o711)
    for name in ("disks", "targets"):
        (made / name).mkdir(mode=0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def guest(daemon: SystemHost, folder: Path) -> Iterator[Guest]:
    direct = libvirt.open(daemon.uri)
    made = Guest(daemon, "own", folder / "disks", direct)
    for target in ("vda", "vdb"):
        made.add_disk(target)
    made.define()
    made.start()
    yield made
    for domain in direct.listAllDomains():
        with suppress(libvirt.libvirtError):
            Guest(daemon, domain.name(), folder, direct).discard()
    # QEMU's end is heard of later, and the next machine has the same name.
    wait_until(lambda: not direct.listAllDomains())
    direct.close()


async def test_a_folder_that_qemu_may_not_enter_is_told(
    daemon: SystemHost, guest: Guest, folder: Path, clock: HandClock
) -> None:
    async with running_lab(folder, clock, platform=QuickPlatform()) as plain:
        lab = await hosted_lab(plain, daemon)
        assert (await lab.command("edit-host", lab.host, staging=None)).success
        job = await lab.job_of(guest)
        session = await lab.run(job)
        assert session.values["Result"] == "Failed"
        [task] = (await lab.tasks(session.uid)).values()
        assert "Let it in, or name a staging folder" in str(task.values["Reason"])
        assert guest.checkpoints() == []


async def test_a_folder_that_is_another_one_on_the_host_is_told(
    folder: Path, clock: HandClock
) -> None:
    apart = folder / "staging"
    apart.mkdir(mode=0o711)
    with system_daemon(apart) as daemon, guest_maker(daemon, folder / "disks") as make:
        daemon.staging = apart
        guest = make()
        async with running_lab(folder, clock, platform=QuickPlatform()) as plain:
            lab = await hosted_lab(plain, daemon)
            session = await lab.run(await lab.job_of(guest))
            assert session.values["Result"] == "Failed"
            [task] = (await lab.tasks(session.uid)).values()
            reason = str(task.values["Reason"])
            assert "must see that folder under the same path" in reason
            assert guest.checkpoints() == []
            # Holdfast cannot reach there: libvirt removes what is not done yet, or it is told.
            left = entries(daemon.folder / "apart")
            assert left == [] or reason.endswith("Remove what it has left there.")
            assert await lab.points(guest.name) == []


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_machine_is_backed_up_restored_and_run_from_its_backup(
    daemon: SystemHost, guest: Guest, folder: Path, clock: HandClock, encrypted: bool
) -> None:
    targets = folder / "targets"
    async with running_lab(folder, clock, platform=QuickPlatform()) as plain:
        lab = await hosted_lab(plain, daemon)
        options = {}
        if encrypted:
            made = await lab.command("create-password", hint="of the vault", password="a secret")
            assert made.made is not None
            options = {"encryption": str(made.made.uid)}
        # What QEMU has written is taken over: nothing in the repository is QEMU's.
        job = await lab.job_of(guest, options=options)
        assert guest.disks["vda"].path.stat().st_uid == ACCOUNT_ID
        older, before = await lab.backed_up(guest, job, 0), guest.contents()
        newer, content = await lab.backed_up(guest, job, 1), guest.contents()
        [task] = (await lab.tasks((await lab.resources("BackupJobSession"))[-1].uid)).values()
        assert str(task.values["Reason"]).startswith("Changed blocks"), task.values
        files = lab.point_files()
        assert {owner for _, owner, _ in files.values()} == {0}
        assert entries(daemon.staging) == []

        another = {"new_identifiers": True, "folder": str(targets)}
        await lab.done("restore-machine", older, new_name="back", power_on=True, **another)
        back = guest.connection.lookupByName("back")
        back.suspend()
        assert {target: bytes_of(path) for target, path in disks_of(back).items()} == before
        guest.power_off()
        await lab.done("restore-machine", newer, overwrite=True, power_on=True)
        guest.domain.suspend()
        found = {target: bytes_of(path) for target, path in disks_of(guest.domain).items()}
        assert found == content

        for end in ("migrate", "discard"):
            await lab.done("start-instant-recovery", newer, new_name=end, **another)
            running = Guest(daemon, end, targets, guest.connection)
            running.domain.suspend()
            [recovery] = await lab.server._store.read(instant_records.all_of)
            await lab.done(f"{end}-instant-recovery", recovery.uid)
        moved = guest.connection.lookupByName("migrate")
        assert {target: bytes_of(path) for target, path in disks_of(moved).items()} == content
        assert lab.point_files() == files


async def test_a_replica_takes_over_and_gives_back(
    daemon: SystemHost, other_daemon: SystemHost, folder: Path, clock: HandClock
) -> None:
    with guest_maker(daemon, folder / "disks") as make:
        async with replica_lab(folder, clock, daemon, other_daemon, make()) as [replica]:
            content = replica.guest.contents()["vda"]
            session = await replica.do("failover")
            assert session.values["Result"] == "Warning", session.values  # the source runs, too
            replica.write(3 * MIB, 65536, 77)
            await replica.do("undo-failover")
            assert await replica.state() == "Ready"
            session = await replica.do("planned-failover", seconds=1, force=True)
            assert await replica.state() == "Failover", session.values
            replica.write(5 * MIB, 65536, 78)
            session = await replica.do("failback", seconds=1, force=True)
            assert await replica.state() == "Failback", session.values
            replica.guest.domain.suspend()
            expected = patched(content, 5 * MIB, 65536, 78)
            assert replica.source_disk() == expected
            session = await replica.do("commit-failback")
            assert session.values["Result"] == "Success", session.values
            assert (await replica.replicate()).startswith("Changed blocks")
            await replica.do("failover")
            replica.domain.suspend()
            assert replica.disk() == expected
