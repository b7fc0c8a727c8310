"""The catalog of files over HTTP: which machines, which points, which files, and back with them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.disks import ext_image, sample_tree
from support.documents import error_message, links_of, local, parsed
from support.managers import XML

from .restore_house import RestoreHouse, restore_house
from .test_job_actions import related


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[RestoreHouse]:
    async with restore_house(tmp_path) as house:
        yield house


async def catalogued(house: RestoreHouse, machine: str) -> str:
    """Wait until a machine is in the catalog; return the address of its newest point there."""
    points = f"/api/catalog/vms/{quote(machine, safe='')}/vmRestorePoints"
    async with asyncio.timeout(60):
        while True:
            await house.manager.collected()
            answer = await house.client.get(points)
            if answer.status_code == 200 and answer.json()["Refs"]:
                address: str = answer.json()["Refs"][0]["Href"]
                return address.removeprefix("http://localhost:9399")
            await asyncio.sleep(0.2)


async def share(house: RestoreHouse) -> tuple[Path, dict[str, bytes]]:
    directory = house.folder / "share"
    directory.mkdir()
    contents = sample_tree(directory)
    await house.run(await house.directory_job("Shares", directory))
    return directory, contents


def names(listing: dict[str, Any]) -> tuple[list[str], list[str]]:
    folders = (listing["Directories"] or {}).get("DirectoryEntries", [])
    files = (listing["Files"] or {}).get("FileEntries", [])
    return [entry["Name"] for entry in folders], [entry["Name"] for entry in files]


async def test_a_machine_is_browsed_from_its_name_down_to_a_file(house: RestoreHouse) -> None:
    vm_point, _ = await house.machine()
    point = await catalogued(house, "web")
    assert point.rpartition("/")[2] == vm_point.rpartition("/")[2]
    [machine] = (await house.get("/api/catalog/vms?format=Entity"))["CatalogVms"]
    assert (machine["UID"], machine["VmDisplayName"]) == ("urn:veeam:CatalogVm:web", "web")
    entity = await house.get(f"{point}?format=Entity")
    rels = [(link["Rel"], link["Href"]) for link in entity["Links"]]
    assert ("Browse", f"http://localhost:9399{point}?action=browse") in rels
    assert ("Related", f"http://localhost:9399{vm_point}?format=Entity") in rels

    answer = await house.client.post(f"{point}?action=browse")
    assert answer.status_code == 200
    task = await house.finished(answer.json())
    assert (task["Operation"], task["Result"]["Success"]) == ("BrowseVM", True)
    [down] = [link for link in task["Links"] if link["Rel"] == "Down"]
    assert down["Type"] == "FileSystemItemsList"
    assert down["Href"] == f"http://localhost:9399{point}/guestfs/"

    root = (await house.get(down["Href"]))["DirectoryEntry"]
    hrefs = {link["Type"]: link["Href"] for link in root["Links"]}
    assert list(hrefs) == ["FileSystemItemsList", "FileEntryList", "DirectoryEntryList"]
    volumes = await house.get(hrefs["FileSystemItemsList"])
    assert names(volumes) == (["volume1"], [])
    assert volumes["PagingInfo"] is None
    [volume] = volumes["Directories"]["DirectoryEntries"]
    inside = await house.get(f"{volume['Href']}?action=listAll")
    assert names(inside) == (
        ["etc", "lost+found"],
        ["big.bin", "empty", "hello.txt", "loop", "passwd"],
    )
    folder = await house.get(f"{volume['Href']}/etc?action=listFiles&pageSize=1&page=2")
    [file] = folder["Files"]["FileEntries"]
    assert (file["Path"], file["Name"]) == ("volume1\\etc\\ümlaut & co.txt", "ümlaut & co.txt")
    assert folder["PagingInfo"]["PagesCount"] == 2
    assert (await house.get(file["Href"]))["FileEntry"] == file
    backslashes = f"{point}/guestfs/volume1%5Cetc%5Capp.conf"
    assert (await house.get(backslashes))["FileEntry"]["Size"] == 12
    document = parsed(await house.client.get(f"{volume['Href']}/etc?action=listAll", headers=XML))
    assert (local(document), dict(document.attrib)) == ("FileSystemEntries", {})
    assert [(link["Rel"], link["Type"]) for link in links_of(document)] == [
        ("Up", "DirectoryEntry")
    ]


async def test_the_catalog_needs_no_repository(house: RestoreHouse) -> None:
    await house.machine()
    point = await catalogued(house, "web")
    shutil.rmtree(house.folder / "repository")
    listing = await house.get(f"{point}/guestfs/volume1?action=listFiles")
    assert "hello.txt" in names(listing)[1]


async def test_a_file_of_a_directory_is_restored_from_the_catalog(house: RestoreHouse) -> None:
    directory, contents = await share(house)
    machines = None
    async with asyncio.timeout(60):
        while not machines:
            await house.manager.collected()
            machines = (await house.get("/api/catalog/vms"))["Refs"]
            await asyncio.sleep(0.2)
    assert machines[0]["Name"] == str(directory).strip("/").replace("/", "\\")
    point = await catalogued(house, machines[0]["Name"])
    path = "etc/deep/er/what? 100% #1.txt"
    (directory / path).unlink()
    file = f"{point}/guestfs/share/{quote(path)}"
    task = await house.done(f"{file}?action=restore")
    assert (task["Operation"], task["Result"]["Success"]) == ("RestoreFile", True), task
    session = await house.stopped(related(task)["Href"])
    assert (session["Result"], session["JobType"]) == ("Success", "FileLevelRestore")
    assert (directory / path).read_bytes() == contents[path]
    # Its point is no machine's, and can be mounted all the same.
    uid = point.rpartition("/")[2]
    mount = await house.mounted(f"/api/vmRestorePoints/{uid}")
    answer = await house.client.get(f"{mount}/share/big.bin?action=download")
    assert answer.content == contents["big.bin"]


async def test_what_is_not_in_the_catalog_is_not_found(house: RestoreHouse) -> None:
    image = house.image("junk")
    await house.run(await house.job("Junk", image))
    await house.server.catalog.catch_up()
    await house.manager.collected()
    # A disk without a file system: backed up well, and nothing to show.
    assert (await house.get("/api/catalog/vms"))["Refs"] == []
    uid = (await house.point("junk")).rpartition("/")[2]
    answer = await house.client.post(f"/api/catalog/vms/junk/vmRestorePoints/{uid}?action=browse")
    assert error_message(answer, 404)


async def test_points_that_are_gone_leave_the_catalog(house: RestoreHouse) -> None:
    job = await house.job("One", await _disk(house), retention=1)
    await house.run(job)
    first = await catalogued(house, "disk")
    with (house.folder / "disk.raw").open("r+b") as image:
        image.seek(12 << 20)
        image.write(b"x" * 4096)
    await house.run(job)
    async with asyncio.timeout(60):
        while (await catalogued(house, "disk")) == first or len(await _indexes(house)) != 1:
            await asyncio.sleep(0.2)
    assert error_message(await house.client.get(f"{first}/guestfs"), 404)


async def _indexes(house: RestoreHouse) -> list[Path]:
    folder = house.folder / "server" / "catalog"
    return await asyncio.to_thread(lambda: list(folder.glob("*.sqlite")))


async def _disk(house: RestoreHouse) -> Path:
    tree = house.folder / "disk-tree"
    tree.mkdir()
    sample_tree(tree)
    ext_image(house.folder / "disk.raw", tree)
    return house.folder / "disk.raw"
