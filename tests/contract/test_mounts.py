"""Mounts of restore points over HTTP: made, browsed, downloaded from, released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from holdfast.engine.browser import UnreadableEntry
from holdfast.schema.roles import Role
from holdfast.server.mounts import MountLimits
from support.disks import MIB, ext_image, partitioned
from support.documents import error_message, links_of, local, parsed, part
from support.managers import XML, client_of, log_on

from .restore_house import RestoreHouse, restore_house
from .test_job_actions import related

DOWNLOAD = {"ForDirectDownload": {}}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[RestoreHouse]:
    async with restore_house(tmp_path) as house:
        yield house


async def test_a_mount_is_made_shown_and_released(house: RestoreHouse) -> None:
    point, _ = await house.machine()
    assert await house.get(f"{point}/mounts") == {"VmRestorePointMounts": []}
    task = await house.done(f"{point}/mounts")
    assert (task["Operation"], task["Result"]["Success"]) == ("MountRestorePoint", True)
    link = related(task)
    uid = point.rpartition("/")[2]
    assert (link["Type"], link["Name"]) == ("VmRestorePointMount", f"{uid}@1")
    assert link["Href"].endswith(f"{point}/mounts/1")

    mount = await house.get(link["Href"])
    [root] = mount["FSRoots"]["DirectoryEntries"]
    assert (root["Path"], root["Name"]) == ("volume1", "volume1")
    assert (await house.get(f"{point}/mounts"))["VmRestorePointMounts"] == [mount]
    document = parsed(await house.client.get(link["Href"], headers=XML))
    assert (local(document), document.attrib["Type"]) == ("VmRestorePointMount",) * 2
    assert [link["Rel"] for link in links_of(document)] == ["Delete"]
    assert part(document, "FSRoots/DirectoryEntry/Path") is not None

    answer = await house.client.delete(link["Href"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert error_message(await house.client.get(link["Href"]), 404)
    assert await house.get(f"{point}/mounts") == {"VmRestorePointMounts": []}


async def test_what_cannot_be_read_and_what_may_be_old_is_told(house: RestoreHouse) -> None:
    tree, image = house.folder / "tree", house.folder / "odd.raw"
    tree.mkdir()
    (tree / "file").write_bytes(b"content")
    parts = [house.folder / "ext.raw", house.folder / "luks.raw"]
    ext_image(parts[0], tree, size=4 * MIB)
    with parts[0].open("r+b") as file:
        file.seek(1024 + 0x60)
        (features,) = file.read(1)
        file.seek(1024 + 0x60)
        file.write(bytes([features | 4]))  # the journal must be replayed
    parts[1].write_bytes(b"LUKS\xba\xbe\0\2".ljust(2 * MIB, b"\0"))
    partitioned(image, *parts)
    await house.run(await house.job("Backup of odd", image))
    await house.manager.collected()
    task = await house.done(f"{await house.point('odd')}/mounts")
    assert task["Result"]["Success"]
    assert task["Result"]["Message"] == (
        "Ok. [volume1] It was in use when it was backed up, and its journal is not replayed: files "
        "that were changed right before may be missing, old or incomplete. "
        "[unreadable1 (LUKS)] It is encrypted: Holdfast has no key to it."
    )
    mount = related(task)["Href"]
    roots = (await house.get(mount))["FSRoots"]["DirectoryEntries"]
    assert [root["Name"] for root in roots] == ["unreadable1 (LUKS)", "volume1"]
    answer = await house.client.get(f"{mount}/{quote(roots[0]['Name'])}?action=listAll")
    assert "It is encrypted" in error_message(answer, 500)
    await house.server.catalog.catch_up()
    index = house.server.catalog.index_of(UUID(mount.split("/")[-3]))
    with pytest.raises(UnreadableEntry, match="It is encrypted"):
        index.listing(("unreadable1 (LUKS)",), "all", 0, 10)


async def test_folders_are_listed_page_by_page(house: RestoreHouse) -> None:
    point, _ = await house.machine()
    mount = await house.mounted(point)
    root = f"{mount}/volume1"
    everything = await house.get(f"{root}?action=listAll")
    folders = [entry["Name"] for entry in everything["Directories"]["DirectoryEntries"]]
    files = {entry["Name"]: entry for entry in everything["Files"]["FileEntries"]}
    assert folders == ["etc", "lost+found"]
    assert list(files) == ["big.bin", "empty", "hello.txt", "loop", "passwd"]
    assert (files["hello.txt"]["Size"], files["hello.txt"]["Path"]) == (6, "volume1/hello.txt")
    assert everything["PagingInfo"]["PageSize"] == 100

    seen, page = [], f"{root}?action=listFiles&pageSize=2&page=1"
    while page:
        listing = await house.get(page)
        assert listing["Directories"] is None
        assert listing["PagingInfo"]["PagesCount"] == 3
        seen += [entry["Name"] for entry in listing["Files"]["FileEntries"]]
        links = {link["Rel"]: link["Href"] for link in listing["PagingInfo"]["Links"]}
        page = links.get("Next", "")
    assert seen == list(files)

    only = await house.get(f"{root}?action=listDirs")
    assert only["Files"] is None
    assert only["PagingInfo"]["PageSize"] == 10
    document = parsed(await house.client.get(f"{root}?action=listAll", headers=XML))
    assert local(document) == "FileSystemEntries"
    assert [local(child) for child in document] == ["Files", "Directories", "PagingInfo"]
    assert document.attrib["Href"] == f"{root}?action=listAll"


async def test_entries_lead_up_and_down(house: RestoreHouse) -> None:
    point, _ = await house.machine()
    mount = await house.mounted(point)
    entry = (await house.get(f"{mount}/volume1/etc"))["DirectoryEntry"]
    links = [(link["Rel"], link["Href"]) for link in entry["Links"]]
    assert links == [
        ("Up", f"{mount}/volume1?action=listAll&pageSize=100&page=1"),
        ("Down", f"{mount}/volume1/etc?action=listAll&pageSize=100&page=1"),
        ("Down", f"{mount}/volume1/etc?action=listDirs&pageSize=10&page=1"),
        ("Down", f"{mount}/volume1/etc?action=listFiles&pageSize=10&page=1"),
        ("Restore", f"{mount}/volume1/etc?action=restore"),
    ]
    for rel, href in links[:-1]:
        assert (await house.client.get(href)).status_code == 200, rel
    file = (await house.get(f"{mount}/volume1/ETC/APP.CONF"))["FileEntry"]
    assert (file["Name"], file["Size"], file["Owner"]) == ("app.conf", 12, file["Owner"])


async def test_every_file_is_downloaded_as_it_was(house: RestoreHouse) -> None:
    point, contents = await house.machine()
    mount = await house.mounted(point)
    for path, content in contents.items():
        task = await house.done(f"{mount}/volume1/{quote(path)}?action=restore", DOWNLOAD)
        assert (task["Operation"], task["Result"]["Success"]) == (
            "FileRestoreFromMountPoint",
            True,
        ), task
        [link] = [link for link in task["Links"] if link["Rel"] == "Download"]
        assert link["Type"] is None
        answer = await house.client.get(link["Href"])
        assert answer.status_code == 200
        assert answer.content == content
        assert answer.headers["Content-Length"] == str(len(content))
        name = quote(path.rpartition("/")[2], safe="")
        assert answer.headers["Content-Disposition"].endswith(f"filename*=UTF-8''{name}")


async def test_only_files_can_be_downloaded_and_links_are_not_followed(
    house: RestoreHouse,
) -> None:
    point, _ = await house.machine()
    mount = await house.mounted(point)
    for path, reason in (("etc", "a folder"), ("passwd", "no regular file"), ("nope", "no nope")):
        task = await house.done(f"{mount}/volume1/{path}?action=restore", DOWNLOAD)
        assert not task["Result"]["Success"]
        assert reason in task["Result"]["Message"]
        assert error_message(await house.client.get(f"{mount}/volume1/{path}?action=download"), 404)
    assert error_message(await house.client.get(f"{mount}/volume1/loop/hello.txt"), 404)
    for path in ("..", "volume1/..", "volume1/%2e%2e/%2e%2e/etc/passwd"):
        answer = await house.client.get(f"{mount}/{path}".replace("/..", "/%2e%2e"))
        assert answer.status_code in (400, 404), answer.text


async def test_files_of_a_machine_cannot_be_put_back_into_it(house: RestoreHouse) -> None:
    point, _ = await house.machine()
    mount = await house.mounted(point)
    body = {"ToOriginalLocation": {"Overwrite": True}}
    task = await house.done(f"{mount}/volume1/hello.txt?action=restore", body)
    assert not task["Result"]["Success"]
    assert "no way into it" in task["Result"]["Message"]
    for wrong in ({}, {**DOWNLOAD, "ToOriginalLocation": {}}):
        answer = await house.client.post(f"{mount}/volume1/hello.txt?action=restore", json=wrong)
        assert error_message(answer, 400)


async def test_what_is_wrong_with_a_request_is_said(house: RestoreHouse) -> None:
    point, _ = await house.machine()
    mount = await house.mounted(point)
    unknown = f"/api/vmRestorePoints/{uuid4()}/mounts"
    assert error_message(await house.client.get(unknown), 404)
    assert error_message(await house.client.post(unknown), 404)
    for path in (f"{point}/mounts/2", f"{point}/mounts/x", f"{mount}/volume9"):
        assert error_message(await house.client.get(path), 404)
    assert error_message(await house.client.get(f"{mount}/volume1?action=dance"), 400)
    assert error_message(await house.client.get(f"{mount}/volume1?action=listAll&page=0"), 400)


async def test_too_many_mounts_are_refused(tmp_path: Path) -> None:
    limits = MountLimits(greatest=3, greatest_per_point=2)
    async with restore_house(tmp_path, limits) as house:
        point, _ = await house.machine()
        mounts = [await house.mounted(point) for _ in range(2)]
        assert [mount.rpartition("/")[2] for mount in mounts] == ["1", "2"]
        task = await house.done(f"{point}/mounts")
        assert not task["Result"]["Success"]
        assert "mounted 2 times already" in task["Result"]["Message"]
        await house.client.delete(mounts[0])
        assert (await house.mounted(point)).endswith("/3")


async def test_a_mount_nobody_uses_is_released(tmp_path: Path) -> None:
    async with restore_house(tmp_path, MountLimits(idle_seconds=0.4)) as house:
        point, _ = await house.machine()
        mount = await house.mounted(point)
        async with asyncio.timeout(60):
            while (await house.client.get(f"{point}/mounts")).json()["VmRestorePointMounts"]:
                await asyncio.sleep(0.5)
        assert error_message(await house.client.get(mount), 404)
        assert not list((tmp_path / "server" / "mounts").iterdir())


async def test_mounts_are_for_those_who_restore_files(house: RestoreHouse) -> None:
    point, _ = await house.machine()
    mount = await house.mounted(point)
    expected = {
        Role.PORTAL_USER: (403, 200, 403),
        Role.VM_RESTORE_OPERATOR: (403, 200, 403),
        Role.FILE_RESTORE_OPERATOR: (200, 200, 200),
        Role.SQL_RESTORE_OPERATOR: (403, 403, 403),
    }
    paths = (f"{point}/mounts", f"{mount}/volume1", f"{mount}/volume1/hello.txt?action=download")
    for role, statuses in expected.items():
        await house.manager.accounts.create(role.name, "secret", role)
        async with client_of(house.manager) as client:
            await log_on(client, role.name, "secret")
            assert tuple([(await client.get(path)).status_code for path in paths]) == statuses
