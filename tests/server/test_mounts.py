"""Mounts on the backup server: what they hold on to, and what becomes of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select

from engine.lab import processes
from holdfast.engine.errors import EngineError, ToolFailed
from holdfast.manager.in_process import InProcessTransport
from holdfast.server import chain_locks, tables
from holdfast.server.journal import ChainKey
from holdfast.server.messages import Command
from holdfast.server.mounts import MountLimits
from support.disks import ext_image, sample_tree

from .lab import HandClock, Lab, running_lab

OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]


async def machine(lab: Lab, retention: int = 7) -> tuple[UUID, UUID, dict[str, bytes]]:
    """Back a machine up; return its job, its point and its files."""
    tree = lab.folder / "tree"
    tree.mkdir()
    contents = sample_tree(tree)
    ext_image(lab.source("web.raw"), tree)
    job = await lab.create_job("web.raw", retention=retention)
    await lab.run(job)
    return job, (await lab.points("web"))[-1].uid, contents


async def directory(lab: Lab) -> tuple[UUID, dict[str, bytes]]:
    """Back a directory up; return its point and its files."""
    contents = sample_tree(lab.source("share"))
    (lab.source("share") / "we*ird[1]?.txt").write_bytes(b"odd")
    await lab.run(await lab.create_job("share", job="Shares", kind="NasBackup"))
    [row] = await lab.rows(select(tables.machine_point.c.uid).subquery())
    return row.uid, {**contents, "we*ird[1]?.txt": b"odd"}


async def mounted(lab: Lab, point: UUID) -> UUID:
    outcome = await lab.command("mount-point", point)
    assert outcome.success, outcome.message
    assert outcome.made is not None
    return outcome.made.uid


async def content(lab: Lab, mount: UUID, path: str) -> bytes:
    with lab.server.mounts.using(mount) as held:
        parts = tuple(path.split("/"))
        return b"".join([piece async for piece in lab.server.mounts.content(held, parts)])


async def test_files_of_a_directory_are_read(lab: Lab) -> None:
    point, contents = await directory(lab)
    mount = await mounted(lab, point)
    with lab.server.mounts.using(mount) as held:
        roots = await held.browser.listing((), "all", 0, 10)
        assert [entry.name for entry in roots.entries] == ["share"]
        found = await held.browser.listing(("share",), "files", 0, 100)
        kinds = {entry.name: entry.kind for entry in found.entries}
        assert kinds["loop"] == kinds["passwd"] == "link"
        assert kinds["hello.txt"] == "file"
    for path, expected in contents.items():
        assert await content(lab, mount, f"share/{path}") == expected


async def restored_file(
    lab: Lab, mount: UUID, path: str, *, overwrite: bool = False
) -> tuple[str, str]:
    outcome = await lab.command("restore-file", mount, path=path, overwrite=overwrite)
    assert outcome.success, outcome.message
    assert outcome.made is not None
    await lab.server.wait_until_idle()
    values = (await lab.resource("RestoreSession", outcome.made.uid)).values
    assert values["JobType"] == "FileLevelRestore"
    return values["Result"], values["FailureMessage"]


async def test_files_of_a_directory_are_put_back(lab: Lab) -> None:
    point, contents = await directory(lab)
    share = lab.source("share")
    mount = await mounted(lab, point)
    (share / "hello.txt").write_bytes(b"newer")
    result, reason = await restored_file(lab, mount, "share/hello.txt")
    assert (result, reason) == (
        "Warning",
        "hello.txt is there already; restored as RESTORED-hello.txt.",
    )
    assert (share / "hello.txt").read_bytes() == b"newer"
    assert (share / "RESTORED-hello.txt").read_bytes() == contents["hello.txt"]
    assert await restored_file(lab, mount, "share/hello.txt", overwrite=True) == ("Success", "")
    assert (share / "hello.txt").read_bytes() == contents["hello.txt"]

    (share / "we*ird[1]?.txt").unlink()
    shown = "share/we*ird[1]?.txt"
    assert await restored_file(lab, mount, shown) == ("Success", "")
    assert (share / "we*ird[1]?.txt").read_bytes() == b"odd"

    for path in ("etc/deep/er/what? 100% #1.txt", "etc/app.conf", "etc/ümlaut & co.txt"):
        (share / path).unlink()
    (share / "etc/deep/er").rmdir()
    (share / "etc/deep").rmdir()
    (share / "etc").rmdir()
    assert await restored_file(lab, mount, "share/etc/deep") == ("Success", "")
    assert [path.name for path in (share / "etc/deep/er").iterdir()] == ["what? 100% #1.txt"]
    assert not [path for path in share.iterdir() if path.name.startswith(".holdfast")]


async def test_a_folder_on_the_way_is_no_more_open_than_it_was(lab: Lab) -> None:
    sample_tree(lab.source("share"))
    etc = lab.source("share") / "etc"
    etc.chmod(0o700)
    (etc / "deep").chmod(0o750)
    (etc / "deep/er/what? 100% #1.txt").chmod(0o644)
    await lab.run(await lab.create_job("share", job="Shares", kind="NasBackup"))
    [row] = await lab.rows(tables.machine_point)
    mount = await mounted(lab, row.uid)
    shutil.rmtree(etc)
    assert await restored_file(lab, mount, "share/etc/deep/er/what? 100% #1.txt") == ("Success", "")
    assert (etc / "deep/er/what? 100% #1.txt").read_bytes() == b"odd\n"
    assert [path.stat().st_mode & 0o777 for path in (etc, etc / "deep")] == [0o700, 0o750]


async def test_a_restore_never_leaves_its_directory(lab: Lab, tmp_path: Path) -> None:
    point, _ = await directory(lab)
    share, outside = lab.source("share"), tmp_path / "outside"
    mount = await mounted(lab, point)
    outside.mkdir()
    (share / "etc").rename(share / "old")
    (share / "etc").symlink_to(outside)
    result, reason = await restored_file(lab, mount, "share/etc/app.conf", overwrite=True)
    assert result == "Failed"
    assert "nothing is restored through it" in reason
    assert not list(outside.iterdir())
    for path in ("share/../../x", "..", "share"):
        outcome = await lab.command("restore-file", mount, path=path)
        assert not outcome.success, path


async def test_a_restore_that_would_wait_for_retention_is_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    point, _ = await directory(lab)
    monkeypatch.setattr(chain_locks, "PATIENCE", 0.1)
    [row] = await lab.rows(tables.machine_point)
    async with lab.server.catalog._locks.files.hold(
        ChainKey.of(row.backup_uid, row.kind, row.reference)
    ):
        for operation, more in (("restore-catalog-file", {"path": "share/x"}), ("mount-point", {})):
            async with asyncio.timeout(60):
                outcome = await lab.command(operation, point, **more)
            assert "being worked on by retention" in outcome.message
    assert not await lab.resources("RestoreSession")


async def test_retention_is_not_kept_waiting_by_a_mount(lab: Lab) -> None:
    job, point, _ = await machine(lab, retention=1)
    mount = await mounted(lab, point)
    with lab.source("web.raw").open("r+b") as image:
        image.seek(12 << 20)
        image.write(b"x" * 4096)
    session = await lab.run(job)
    assert session.values["Result"] == "Success"
    assert len(await lab.points("web")) == 1
    assert not lab.server.mounts.of(point)
    outcome = await lab.command("restore-file", mount, path="volume1/hello.txt", download=True)
    assert "Cannot find mount" in outcome.message


async def test_a_download_that_nobody_goes_on_with_keeps_no_backup_waiting(
    tmp_path: Path, clock: HandClock
) -> None:
    async with running_lab(tmp_path, clock, MountLimits(stalled_seconds=0.2)) as lab:
        job, point, _ = await machine(lab, retention=1)
        mount = await mounted(lab, point)
        with lab.server.mounts.using(mount) as held:
            pieces = lab.server.mounts.content(held, ("volume1", "big.bin"))
            assert await anext(pieces)
            async with asyncio.timeout(60):
                session = await lab.run(job)
            assert session.values["Result"] == "Success"
            assert not lab.server.mounts.of(point)
            with pytest.raises(ToolFailed, match="not open any more"):
                await anext(pieces)


async def test_a_stalled_download_of_a_directory_keeps_no_repository_locked(
    tmp_path: Path, clock: HandClock
) -> None:
    async with running_lab(tmp_path, clock, MountLimits(stalled_seconds=0.2)) as lab:
        sample_tree(lab.source("share"))
        job = await lab.create_job("share", job="Shares", kind="NasBackup", retention=1)
        await lab.run(job)
        [row] = await lab.rows(tables.machine_point)
        mount = await mounted(lab, row.uid)
        with lab.server.mounts.using(mount) as held:
            pieces = lab.server.mounts.content(held, ("share", "big.bin"))
            assert await anext(pieces)
            (dump,) = processes("restic", f"dump {row.snapshot_id}")
            async with asyncio.timeout(60):
                session = await lab.run(job)
            assert session.values["Result"] == "Success", session.values
            assert dump not in processes("restic", "dump")
            with pytest.raises(EngineError):
                _ = [piece async for piece in pieces]


async def test_a_mount_whose_reader_takes_nothing_is_given_up(
    tmp_path: Path, clock: HandClock
) -> None:
    async with running_lab(tmp_path, clock, MountLimits(idle_seconds=0.4)) as lab:
        _, point, _ = await machine(lab)
        mount = await mounted(lab, point)
        with lab.server.mounts.using(mount) as held:
            assert await anext(lab.server.mounts.content(held, ("volume1", "big.bin")))
            async with asyncio.timeout(60):
                while lab.server.mounts.of(point):
                    await asyncio.sleep(0.05)


async def test_stopping_the_server_releases_every_mount(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        _, point, _ = await machine(lab)
        await mounted(lab, point)
        assert processes("qemu-nbd", lab.repository_path)
        folder = lab.folder
    assert not processes("qemu-nbd", folder)
    (folder / "server" / "mounts" / "orphan").mkdir()
    async with open_lab():
        assert not list((folder / "server" / "mounts").iterdir())


async def test_a_command_that_comes_twice_mounts_once(lab: Lab) -> None:
    _, point, _ = await machine(lab)
    command = Command(request_id=uuid4(), operation="mount-point", target=point)
    first, second = await asyncio.gather(*[lab.server.execute(command) for _ in range(2)])
    assert first == second == await lab.server.execute(command)
    assert len(lab.server.mounts.of(point)) == 1


async def test_the_private_service_streams_content_to_those_with_the_token(lab: Lab) -> None:
    _, point, contents = await machine(lab)
    mount = await mounted(lab, point)
    path = f"/mounts/{mount}/content"
    async with httpx.AsyncClient(
        transport=InProcessTransport(lab.server.app), base_url="http://server"
    ) as client:
        query = {"path": "volume1/big.bin"}
        assert (await client.get(path, params=query)).status_code == 401
        client.headers["Authorization"] = f"Bearer {lab.server.token}"
        async with client.stream("GET", path, params=query) as answer:
            pieces = [piece async for piece in answer.aiter_raw()]
        assert b"".join(pieces) == contents["big.bin"]
        assert max(map(len, pieces)) <= 1 << 20
        # Whoever stops reading stops the reading of the disk.
        async with client.stream("GET", path, params=query) as answer:
            await anext(answer.aiter_raw())
        assert [each.users for each in lab.server.mounts.of(point)] == [0]
        for wrong, status in (
            (f"{path}?path=volume1/..", 400),
            (f"{path}?path=volume1/nope", 404),
            (f"/mounts/{mount}/entries?path=volume1&kinds=some", 400),
            (f"/mounts/{mount}/entries?path=volume1&limit=-1", 400),
            ("/mounts/x/entry", 400),
            (f"/mounts/{UUID(int=7)}/entry", 404),
        ):
            refused = await client.get(wrong)
            assert refused.status_code == status, wrong
            assert refused.json()["message"]


async def test_a_disk_without_a_known_file_system_has_no_roots(lab: Lab) -> None:
    lab.source("web.raw").write_bytes(bytes(1 << 20) + b"junk" * 1000)
    await lab.run(await lab.create_job("web.raw"))
    mount = await mounted(lab, (await lab.points("web"))[0].uid)
    with lab.server.mounts.using(mount) as held:
        assert (await held.browser.listing((), "all", 0, 10)).total == 0
    lab.clock.advance(timedelta(minutes=1))


@pytest.mark.parametrize("missing", ["gone", "point"])
async def test_what_cannot_be_mounted_is_refused_with_the_reason(lab: Lab, missing: str) -> None:
    _, point, _ = await machine(lab)
    if missing == "gone":
        [image] = lab.repository_path.glob("*/*.qcow2")
        image.unlink()
        reason = "is missing"
    else:
        point, reason = UUID(int=3), "Cannot find restore point"
    outcome = await lab.command("mount-point", point)
    assert not outcome.success
    assert reason in outcome.message
    assert not list((lab.folder / "server" / "mounts").iterdir())
