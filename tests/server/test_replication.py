"""Replica jobs between two real libvirt daemons: points, sessions, retention, failovers."""

# ruff: noqa: ASYNC221, ASYNC240 - a test has the event loop for itself

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt
import msgspec
import pytest
from sqlalchemy import select

from engine.vm.lab import Guest, Host, libvirt_daemon, remove_domain
from holdfast.engine.image import restore_image
from holdfast.server import replicas, tables
from holdfast.server.libvirt_platform import LibvirtPlatform
from holdfast.server.libvirt_references import host_reference, machine_reference
from holdfast.server.messages import Change, Command, Outcome
from holdfast.server.platform import HostAccess, HostFacts
from holdfast.server.replicas import ReplicaState

from .lab import HandClock, Lab, flip, running_lab

pytestmark = pytest.mark.vm

_numbers = count(1)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """The host that machines run on, and the one for their replicas."""
    with libvirt_daemon() as source, libvirt_daemon() as target:
        yield source, target


@pytest.fixture
def make_guest(hosts: tuple[Host, Host], tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """Make a machine, powered on but paused, and take all machines away in the end."""
    connections = [libvirt.open(host.uri) for host in hosts]
    disks = tmp_path / "disks"
    disks.mkdir()

    def make(*targets: str, **more: str) -> Guest:
        guest = Guest(hosts[0], f"web{next(_numbers)}", disks, connections[0], **more)
        for target in targets or ("vda",):
            guest.add_disk(target)
        guest.define()
        guest.start()
        return guest

    yield make
    for host, connection in zip(hosts, connections, strict=True):
        for domain in connection.listAllDomains():
            with suppress(libvirt.libvirtError):
                remove_domain(host, domain)
        connection.close()


class QuickPlatform(LibvirtPlatform):
    """Boots no guest to see what the processor can: that is tested elsewhere, and takes seconds."""

    async def probe(self, access: HostAccess) -> HostFacts:
        assert await self.machines(access) is not None
        return HostFacts(hostname="kvm", hypervisor="7.2.22", library="9.0.0", acceleration="tcg")


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock, platform=QuickPlatform()) as lab:
        yield lab


async def add_hosts(lab: Lab, hosts: tuple[Host, Host]) -> tuple[UUID, UUID]:
    uids = []
    for name, host in zip(("main", "elsewhere"), hosts, strict=True):
        outcome = await lab.command("add-host", uri=host.uri, name=name)
        assert outcome.made is not None, outcome.message
        uids.append(outcome.made.uid)
    staging = lab.folder / "staging"
    staging.mkdir(exist_ok=True)
    assert (await lab.command("edit-host", uids[0], staging=str(staging))).success
    return uids[0], uids[1]


async def create_job(lab: Lab, arguments: dict[str, Any]) -> Outcome:
    wanted = Command(request_id=uuid4(), operation="create-job", arguments=arguments)
    return await lab.server.execute(wanted)


async def make_job(lab: Lab, target: UUID, *objects: str, **more: Any) -> UUID:
    wanted = {
        "name": "Replication",
        "kind": "Replica",
        "objects": [{"reference": each} for each in objects],
        "target": {"host": str(target), "folder": str(lab.folder / "datastore")},
    }
    outcome = await create_job(lab, wanted | more)
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def run(
    lab: Lab, job: UUID, operation: str = "start-job"
) -> tuple[Change, dict[str, Change]]:
    """Run a job; return its session, and its task sessions by machine."""
    session = await lab.begin(job, operation)
    await lab.server.wait_until_idle()
    found = [
        change
        for change in await lab.resources("ReplicaTaskSession")
        if change.relations["job_session"] == session
    ]
    tasks = {change.values["VmDisplayName"]: change for change in found}
    return await lab.resource("ReplicaJobSession", session), tasks


async def points(lab: Lab, replica: UUID) -> list[Change]:
    """The points of a replica, oldest first."""
    found = await lab.resources("VmReplicaPoint")
    of_it = [change for change in found if change.relations["replica"] == replica]
    return sorted(of_it, key=lambda change: change.values["CreationTimeUTC"])


async def contents(lab: Lab, point: UUID) -> dict[str, bytes]:
    """What the disks of a replica's point hold."""
    known = await lab.write(lambda c: replicas.replica_point(c, point))
    found = {}
    for disk in known.known.disks:
        path = known.folder / disk.file.name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == disk.file.sha256
        await restore_image(path, lab.folder / "raw", overwrite=True)
        found[disk.state.target] = (lab.folder / "raw").read_bytes()
    return found


def standing_by(host: Host) -> list[str]:
    with libvirt.open(host.uri) as connection:
        assert connection.listDomainsID() == []
        return sorted(domain.name() for domain in connection.listAllDomains())


async def test_a_machine_is_replicated_by_what_changed_and_old_points_are_merged(
    lab: Lab, hosts: tuple[Host, Host], make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    source, target = await add_hosts(lab, hosts)
    job = await make_job(lab, target, host_reference(source), retention=2)
    held = []
    for number in range(3):
        guest.write_something(number)
        held.append(guest.contents())
        session, tasks = await run(lab, job)
        task = tasks[guest.name]
        assert task.values["Result"] == "Success", task.values["Reason"]
        wanted = "Full" if number == 0 else "Changed blocks"
        assert task.values["Reason"].startswith(f"{wanted}, crash-consistent.")
        assert task.values["Reason"].endswith("MiB were sent.")
        assert task.values["TotalSize"] == 8 * 1024 * 1024
        assert "VmUid" not in task.values
        assert session.values["JobType"] == "Replica"
        assert session.values["Result"] == "Success"
        assert session.relations == {"job": job}
    [replica] = await lab.resources("Replica")
    assert replica.name == f"{guest.name}_replica"
    assert replica.relations["job"] == job
    kept = await points(lab, replica.uid)
    assert task.relations["point"] == kept[-1].uid
    assert [point.values["PointType"] for point in kept] == ["Full", "Increment"]
    for point, content in zip(kept, held[1:], strict=True):
        assert await contents(lab, point.uid) == content
    assert standing_by(hosts[1]) == [replica.name]
    # None of it looks like a backup, and nothing is left where QEMU wrote first.
    for other in ("Backup", "RestorePoint", "VmRestorePoint", "BackupFile", "BackupJobSession"):
        assert await lab.resources(other) == []
    assert list((lab.folder / "staging").iterdir()) == []
    assert list((lab.folder / "server/transfers").iterdir()) == []
    assert await lab.rows(tables.intent) == []
    # A replica is no machine to be backed up.
    assert (await lab.command("rescan-host", target)).success
    known = await lab.rows(tables.host_machine)
    assert [row.name for row in known if row.host_uid == target] == []
    guest.ensure_untouched()


async def test_a_replica_is_kept_by_days_checked_and_sent_anew(
    lab: Lab, hosts: tuple[Host, Host], make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    source, target = await add_hosts(lab, hosts)
    options = {"bandwidth": 10**9, "quiesce": False, "active_full": {"month": [31]}}
    job = await make_job(lab, target, host_reference(source), retention_days=2, options=options)
    [shown] = await lab.resources("Job")
    assert msgspec.json.decode(str(shown.values["Target"])) == {
        "host": str(target),
        "folder": str(lab.folder / "datastore"),
        "suffix": "_replica",
        "networks": {},
    }
    for number in range(3):
        guest.write_something(number)
        session, _ = await run(lab, job)
        assert session.values["Result"] == "Success", session.values.get("FailureMessage")
        lab.clock.advance(timedelta(days=1))
    [replica] = await lab.resources("Replica")
    kept = await points(lab, replica.uid)
    assert [point.values["PointType"] for point in kept] == ["Full", "Increment"]

    session, tasks = await run(lab, job, "check-job")
    assert session.values["Result"] == "Success"
    assert "files are as they were written" in tasks[guest.name].values["Reason"]
    known = await lab.write(lambda c: replicas.replica_point(c, kept[-1].uid))
    flip(known.folder / known.known.disks[0].file.name)
    held = guest.contents()
    session, tasks = await run(lab, job, "check-job")
    assert session.values["Result"] == "Warning", session.values.get("FailureMessage")
    assert "is damaged" in tasks[guest.name].values["Reason"]
    refused = await lab.command("failover-point", kept[-1].uid)
    assert "This restore point is damaged" in refused.message
    # A replica that is whole was sent at once.
    newest = (await points(lab, replica.uid))[-1]
    assert newest.values["PointType"] == "Full"
    assert await contents(lab, newest.uid) == held


async def test_a_failed_over_replica_is_left_alone(
    lab: Lab, hosts: tuple[Host, Host], make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    source, target = await add_hosts(lab, hosts)
    job = await make_job(lab, target, host_reference(source), retention=2)
    for number in range(2):
        guest.write_something(number)
        await run(lab, job)
    [replica] = await lab.rows(tables.replica)
    before = await points(lab, replica.uid)

    async def become(state: ReplicaState, *, before: ReplicaState) -> None:
        assert await lab.write(
            lambda c: replicas.change_state(c, replica.uid, state, before={before})
        )

    await become(ReplicaState.FAILOVER, before=ReplicaState.READY)
    retention = tables.job.update().where(tables.job.c.uid == job).values(retention=1)
    await lab.write(lambda c: c.execute(retention))
    session, tasks = await run(lab, job)
    assert tasks[guest.name].values["Result"] == "Warning"
    assert "is in the state Failover" in tasks[guest.name].values["Reason"]
    assert session.values["Result"] == "Warning"
    assert await points(lab, replica.uid) == before
    assert [await contents(lab, point.uid) for point in before]
    await become(ReplicaState.READY, before=ReplicaState.FAILOVER)
    _, tasks = await run(lab, job)
    assert tasks[guest.name].values["Reason"].startswith("Changed blocks")
    [left] = await points(lab, replica.uid)
    assert await contents(lab, left.uid) == guest.contents()


async def test_what_cannot_stand_by_is_said_before_anything_is_moved(
    lab: Lab, hosts: tuple[Host, Host], make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    source, target = await add_hosts(lab, hosts)
    job = await make_job(lab, target, machine_reference(source, guest.uuid))
    with libvirt.open(hosts[1].uri) as connection:
        taken = connection.defineXML(
            f"<domain type='qemu'><name>{guest.name}_replica</name><memory unit='MiB'>32</memory>"
            "<os><type arch='x86_64'>hvm</type></os></domain>"
        )
        session, tasks = await run(lab, job)
        assert session.values["Result"] == "Failed"
        assert "another machine named" in tasks[guest.name].values["Reason"]
        assert not list(lab.folder.glob("datastore/*/*"))
        # Nothing that seems ready is left of it.
        assert await lab.resources("Replica") == []
        assert await lab.rows(tables.replica) == []
        taken.undefine()
    # Tried again, it works, and what it made is found.
    session, tasks = await run(lab, job, "retry-job")
    assert session.values["IsRetry"]
    assert tasks[guest.name].values["Result"] == "Success", tasks[guest.name].values["Reason"]
    [row] = await lab.rows(tables.replica)
    assert row.state == ReplicaState.READY
    # The host of replicas stays known as long as they are there.
    refused = await lab.command("remove-host", target)
    assert "makes replicas on host" in refused.message
    assert (await lab.command("delete-job", job)).success
    refused = await lab.command("remove-host", target)
    assert f'has replicas, such as "{guest.name}_replica"' in refused.message
    await remove_replica(lab, row, guest)
    assert standing_by(hosts[1]) == []
    assert (await lab.command("remove-host", target)).success


async def remove_replica(lab: Lab, row: Any, guest: Guest) -> None:
    """Remove a replica, which is refused while anything needs it."""
    [folder] = (path for path in (lab.folder / "datastore").iterdir() if path.is_dir())
    [disk] = folder.glob("*.qcow2")
    await lab.write(
        lambda c: replicas.change_state(
            c, row.uid, ReplicaState.FAILOVER, before={ReplicaState.READY}
        )
    )
    refused = await lab.command("remove-replica", row.uid)
    assert "in the state Failover" in refused.message
    await lab.write(
        lambda c: replicas.change_state(
            c, row.uid, ReplicaState.READY, before={ReplicaState.FAILOVER}
        )
    )
    layer = folder / "somebody.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.name, "-F", "qcow2", layer]
    subprocess.run(create, check=True)
    refused = await lab.command("remove-replica", row.uid)
    assert f"{layer} is built on a point" in refused.message
    assert disk.exists()
    layer.unlink()
    outcome = await lab.command("remove-replica", row.uid)
    assert outcome.success, outcome.message
    assert outcome.message.startswith("1 restore points are gone: ")
    assert list(folder.iterdir()) == []
    assert await lab.resources("Replica") == []
    assert await lab.resources("VmReplicaPoint") == []
    assert await lab.rows(tables.replica) == []
    assert guest.checkpoints() == []


async def test_a_stopped_session_leaves_nothing(
    lab: Lab, hosts: tuple[Host, Host], make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    guest.write("vda", 0, 8 * 1024 * 1024, 5)
    source, target = await add_hosts(lab, hosts)
    job = await make_job(lab, target, machine_reference(source, guest.uuid))
    session = await lab.begin(job)

    async def sending() -> bool:
        return any(lab.folder.glob("server/transfers/*"))

    await lab.until(sending)
    assert (await lab.command("stop-job", job)).success
    await lab.server.wait_until_idle()
    shown = await lab.resource("ReplicaJobSession", session)
    assert (shown.values["State"], shown.values["Result"]) == ("Stopped", "Failed")
    assert "stopped by operator" in shown.values["FailureMessage"]
    for left in ("datastore/*/*", "staging/*", "server/transfers/*"):
        assert not list(lab.folder.glob(left))
    assert await lab.rows(tables.intent) == []
    assert await lab.rows(tables.replica) == []
    assert standing_by(hosts[1]) == []
    assert guest.checkpoints() == []
    guest.ensure_untouched()
    _, tasks = await run(lab, job)
    assert tasks[guest.name].values["Result"] == "Success"


async def test_what_makes_no_sense_is_refused(
    lab: Lab, hosts: tuple[Host, Host], make_guest: Callable[..., Guest]
) -> None:
    guest = make_guest()
    source, target = await add_hosts(lab, hosts)
    reference = machine_reference(source, guest.uuid)
    good: dict[str, Any] = {
        "name": "R",
        "kind": "Replica",
        "objects": [{"reference": reference}],
        "target": {"host": str(target), "folder": str(lab.folder / "datastore")},
    }
    for change, told in (
        ({"target": None}, "needs a target"),
        (
            {"repository": str(lab.repository)},
            "repository: replicas lie in the folder of the target",
        ),
        ({"sources": [{"path": "/a.raw"}]}, "made of objects"),
        (
            {"target": good["target"] | {"folder": "datastore"}},
            "target.folder: expected an absolute path",
        ),
        ({"target": good["target"] | {"suffix": ""}}, "suffix"),
        ({"target": good["target"] | {"host": str(lab.repository)}}, "Cannot find host"),
        (
            {"kind": "Backup", "repository": str(lab.repository)},
            "target: only a job of kind Replica",
        ),
        ({"kind": "Backup", "target": None}, "repository: expected the repository"),
        ({"options": {"compression": "none"}}, "options.compression: "),
        ({"options": {"gfs": {"weekly": {"keep": 1}}}}, "options.gfs: "),
    ):
        outcome = await create_job(lab, good | change)
        assert not outcome.success
        assert told in outcome.message
    assert not (lab.folder / "datastore").exists()
    assert (await lab.write(lambda c: c.execute(select(tables.job)).all())) == []


async def test_a_server_that_is_killed_in_the_middle_loses_nothing(
    tmp_path: Path,
    clock: HandClock,
    hosts: tuple[Host, Host],
    make_guest: Callable[..., Guest],
) -> None:
    guest = make_guest()
    platform = QuickPlatform()
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        source, target = await add_hosts(lab, hosts)
        job = await make_job(lab, target, machine_reference(source, guest.uuid))
        await run(lab, job)
        held = [guest.contents()]
    program = Path(__file__).with_name("replica_process.py")
    for number, moment in enumerate(("QEMU copies", "it sends", "the point is recorded")):
        guest.write("vda", 0, 7 * 1024 * 1024, 3 + number)
        arguments = [sys.executable, program, tmp_path / "server", str(job), moment]
        killed = subprocess.run(arguments, check=False, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        if moment == "the point is recorded":
            held.append(guest.contents())
        async with running_lab(tmp_path, clock, platform=platform) as lab:
            sessions = await lab.resources("ReplicaJobSession")
            cut = max(sessions, key=lambda each: each.values["CreationTimeUTC"]).values
            assert (cut["State"], cut["Result"]) == ("Stopped", "Failed")
            assert "stopped unexpectedly" in cut["FailureMessage"]
            [row] = await lab.rows(tables.replica)
            assert row.state == ReplicaState.READY
            found = await points(lab, row.uid)
            assert [await contents(lab, point.uid) for point in found] == held
            assert await lab.rows(tables.intent) == []
            for left in ("staging/*", "server/transfers/*", "datastore/*/*.partial"):
                assert not list(tmp_path.glob(left))
            known = {Path(file.path).name for file in await lab.rows(tables.backup_file)}
            assert {path.name for path in tmp_path.glob("datastore/*/*.qcow2")} == known
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        _, tasks = await run(lab, job)
        task = tasks[guest.name].values
        assert task["Result"] in ("Success", "Warning"), task["Reason"]
        newest = (await points(lab, row.uid))[-1]
        assert await contents(lab, newest.uid) == guest.contents()
        guest.ensure_untouched()
    assert standing_by(hosts[1]) == [f"{guest.name}_replica"]
