"""A database is lost, and a new server makes known what the old one has left in its repository."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from holdfast.engine.image import merge_into_parent
from holdfast.engine.image_restore import restore_image
from holdfast.engine.qemu_image import commit_arguments
from holdfast.server import points, repository_import, tables
from holdfast.server.data_keys import DataKeys
from holdfast.server.keys import Keys
from holdfast.server.repository_scan import FoundBackup, Scanned, is_plain_name

from .lab import HandClock, Lab, running_lab, write_image
from .offsite import Offsite


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """Return what is in a folder, and when it was last written."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@asynccontextmanager
async def new_server(folder: Path, clock: HandClock) -> AsyncIterator[Lab]:
    """Run a server that knows nothing, with a repository of its own."""
    other = folder / "other"
    other.mkdir(exist_ok=True)
    async with running_lab(other, clock) as lab:
        yield lab


async def imported(lab: Lab, repository: Path, **more: Any) -> list[str]:
    """Import a repository; return what is said of it, line by line."""
    before = contents(repository)
    outcome = await lab.command("import-repository", folder=str(repository), **more)
    assert contents(repository) == before
    assert outcome.success, outcome.message
    return outcome.message.splitlines()


async def rows_of(lab: Lab) -> dict[str, list[Any]]:
    """Return all rows that tell what can be restored."""
    known = (
        tables.repository, tables.job, tables.job_session, tables.backup, tables.restore_point,
        tables.backup_file, tables.machine_point, tables.machine_disk,
    )  # fmt: skip
    return {table.name: await lab.rows(table) for table in known}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def write_tree(lab: Lab, number: int) -> None:
    tree = lab.source("docs")
    (tree / "deep").mkdir(parents=True, exist_ok=True)
    (tree / "deep" / "note").write_text(f"note {number}")
    (tree / f"file{number}").write_bytes(bytes([number]) * 5000)


def tree_at(path: Path) -> dict[str, bytes]:
    return {
        str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()
    }


async def fail_to_back_up(lab: Lab, job: UUID) -> None:
    """Have a backup fail: no manifest goes, and none is left."""
    described = sorted(lab.repository_path.glob("*/files.*.json"))
    assert len(described) == 2
    tree = lab.source("docs")
    tree.rename(lab.folder / "aside")
    tree.mkdir()  # empty: nothing is backed up
    assert (await lab.run(job)).values["Result"] == "Failed"
    assert sorted(lab.repository_path.glob("*/files.*.json")) == described


async def test_a_new_server_restores_all_that_a_lost_one_has_backed_up(
    tmp_path: Path, clock: HandClock
) -> None:
    images: dict[int, bytes] = {}
    trees: dict[int, dict[str, bytes]] = {}
    async with running_lab(tmp_path, clock) as lab:
        # Of three points two are kept: the full is what two have been merged into.
        job = await lab.create_job("a.raw", retention=2)
        files = await lab.create_job("docs", job="Files", kind="NasBackup", retention=2)
        (tmp_path / "sources" / "docs").mkdir()
        for number in range(3):
            images[number] = write_image(lab.source("a.raw"), number)
            await lab.run(job)
            write_tree(lab, number)
            trees[number] = tree_at(lab.source("docs"))
            await lab.run(files)
        await fail_to_back_up(lab, files)
        repository = lab.repository_path
        offsite = await Offsite.of(lab)
        await lab.run(await offsite.copy_job(job))
        before = {row.uid: row for row in await lab.rows(tables.machine_point)}
        assert len(before) == 6
        docs = sorted(
            (row for row in before.values() if row.kind == "directory"), key=lambda row: row.created
        )
        # As it was before snapshots had manifests.
        next(lab.repository_path.glob(f"*/files.{docs[0].snapshot_id}.json")).unlink()
        password = next((tmp_path / "server" / "keys").glob(f"{lab.repository}.password"))
        secret = password.read_text().strip()
    shutil.rmtree(tmp_path / "server")
    shutil.rmtree(tmp_path / "sources")
    async with new_server(tmp_path, clock) as lab:
        first, _heading, *problems = await imported(lab, repository, name="Old")
        assert first == "2 restore points imported, of 1 backup; 0 known already."
        assert ["cannot be opened with a password that is known here" in p for p in problems] == [
            True
        ]
        wrong = await lab.command(
            "offer-repository-password", folder=str(repository), password="wrong"
        )
        assert not wrong.success
        assert wrong.message.startswith("password: it opens no backups of directories")
        right = await lab.command(
            "offer-repository-password", folder=str(repository), password=secret
        )
        assert right.success, right.message
        said = await imported(lab, repository, name="Old")
        assert said == ["2 restore points imported, of 1 backup; 2 known already."]
        said = await imported(lab, offsite.path)
        assert said == ["2 restore points imported, of 1 backup; 0 known already."]
        # Importing again changes nothing.
        known = await rows_of(lab)
        said = await imported(lab, repository)
        assert said == ["0 restore points imported, of 0 backups; 4 known already."]
        assert await rows_of(lab) == known
        # All is as it was, and all can be restored.
        after = {row.uid: row for row in await lab.rows(tables.machine_point)}
        for uid, row in before.items():
            same, names = after[uid], ["display_name", "kind", "source_path", "total_size"]
            if uid != docs[0].uid:
                names += ["created", "reference", "backup_uid", "restore_point_uid", "copied_from"]
            for name in names:
                assert getattr(same, name) == getattr(row, name), name
        assert len(after) == 6
        pictures = [row for row in after.values() if row.kind == "image"]
        for row in sorted(pictures, key=lambda row: row.created):
            assert await lab.restored(row.uid) in (images[1], images[2])
        for number, row in enumerate(docs, 1):
            target = lab.folder / f"tree{number}"
            await lab.server.restore.point(row.uid, target)
            assert tree_at(target) == trees[number]
        shown = {change.uid for change in await lab.resources("VmRestorePoint")}
        assert shown == {row.uid for row in pictures}
        assert {b.name for b in await lab.resources("Backup")} == {"Nightly", "Files", "Copy"}
    # They are there, too, after the server was started again. What lies half made beside them may
    # be that of another server.
    [image, *_] = repository.glob("*/*.qcow2")
    half_made = image.with_name("b.qcow2.partial")
    half_made.write_bytes(b"half made")
    async with new_server(tmp_path, clock) as lab:
        assert len(await lab.rows(tables.machine_point)) == 6
        assert half_made.exists()


async def test_what_cannot_be_restored_is_told_and_is_imported_when_it_can_be(
    tmp_path: Path, clock: HandClock
) -> None:
    async with running_lab(tmp_path, clock) as lab:
        job = await lab.create_job("a.raw", "b.raw")
        for number in range(3):
            for seed, name in enumerate("ab"):
                write_image(lab.source(f"{name}.raw"), 10 * number + seed)
            await lab.run(job)
        repository = lab.repository_path
    [folder] = [each for each in repository.iterdir() if each.is_dir()]
    a_full, a_second, _a_third = sorted(folder.glob("a.*.qcow2"))
    _b_full, b_second, b_third = sorted(folder.glob("b.*.qcow2"))
    kept = {path: path.read_bytes() for path in (a_second, b_second, b_third)}
    a_second.write_bytes(kept[a_second][:-1] + bytes([kept[a_second][-1] ^ 1]))
    b_second.write_bytes(kept[b_second][:-1])
    b_third.unlink()
    stray = folder / "c.2026.qcow2"
    stray.write_bytes(a_full.read_bytes())
    torn = folder / "d.2026.qcow2.json"
    torn.write_text('{"format": 1')
    async with new_server(tmp_path, clock) as lab:
        first, heading, *problems = await imported(lab, repository)
        assert first == "2 restore points imported, of 1 backup; 0 known already."
        assert heading == "Not imported:"
        reasons = [problem.partition(": ")[2] for problem in problems]
        size = len(kept[b_second])
        damaged = f"{a_second} is damaged: its checksum is not the one it was written with."
        assert reasons.count(damaged) == 2  # the point itself, and the one built on it
        assert reasons.count(f"{b_second} has {size - 1} bytes, not {size}.") == 2
        assert f"{stray} has no manifest: it is not known what it holds." in problems
        assert any(problem.startswith(f"{torn} cannot be read: ") for problem in problems)
        assert len(problems) == 6
        [session] = await lab.resources("BackupJobSession")
        assert session.values["Result"] == "Warning"
        for path, content in kept.items():
            path.write_bytes(content)
        stray.unlink()
        torn.unlink()
        said = await imported(lab, repository)
        assert said == ["4 restore points imported, of 1 backup; 2 known already."]
        [point] = [row for row in await lab.points("b") if row.values["CreationTimeUTC"]][-1:]
        plain = lab.folder / "plain"
        await restore_image(b_third, plain, format="raw")
        assert await lab.restored(point.uid) == plain.read_bytes()


async def test_what_a_merge_that_was_cut_off_has_left_is_told_with_the_way_to_read_it(
    tmp_path: Path, clock: HandClock
) -> None:
    contents = {}
    async with running_lab(tmp_path, clock) as lab:
        job = await lab.create_job("a.raw", "b.raw")
        for number in range(3):
            for seed, name in enumerate("ab"):
                contents[name] = write_image(lab.source(f"{name}.raw"), 10 * number + seed)
            await lab.run(job)
        repository = lab.repository_path
    chains = {name: sorted(repository.glob(f"*/{name}.*.qcow2")) for name in "ab"}
    # Of one the file has its new name already, of the other some of the data was written.
    await merge_into_parent(*chains["a"][:2])
    run(*commit_arguments(chains["b"][1]))
    async with new_server(tmp_path, clock) as lab:
        first, _heading, *problems = await imported(lab, repository)
    assert first == "0 restore points imported, of 0 backups; 0 known already."
    hints = [problem for problem in problems if problem.startswith("If a server was cut off")]
    assert len(hints) == 2
    for hint, (name, chain) in zip(sorted(hints), chains.items(), strict=True):
        assert f"merged {chain[0]} into {chain[1].name}, " in hint
        out = tmp_path / "out"
        for file in chain[1:]:
            run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(file), str(out))
        assert out.read_bytes() == contents[name]


async def test_a_backup_that_changes_or_is_to_go_gets_no_more_points(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lab(tmp_path, clock) as lab:
        job = await lab.create_job("a.raw")
        for number in range(2):
            write_image(lab.source("a.raw"), number)
            await lab.run(job)
        repository = lab.repository_path
    second = sorted(repository.glob("*/a.*.qcow2"))[1]
    content = second.read_bytes()
    second.write_bytes(content[:-1])
    async with new_server(tmp_path, clock) as lab:
        first, *_ = await imported(lab, repository)
        assert first == "1 restore point imported, of 1 backup; 0 known already."
        second.write_bytes(content)

        async def expires(moment: int | None) -> None:
            await lab.write(lambda c: c.execute(update(tables.backup).values(expires=moment)))

        await expires(2**53)
        *_, said = await imported(lab, repository)
        assert said.endswith("this backup is known here, and removed as soon as its time is over.")
        await expires(None)
        [point] = await lab.rows(tables.machine_point)
        real = repository_import.scan

        async def withdrawing(
            of: Scanned, keys: Keys, data_keys: DataKeys
        ) -> AsyncIterator[FoundBackup]:
            async for found in real(of, keys, data_keys):
                yield found
            await lab.write(lambda c: points.withdraw_point(c, point.uid))

        with monkeypatch.context() as patched:
            patched.setattr(repository_import, "scan", withdrawing)
            *_, said = await imported(lab, repository)
        assert said.endswith("restore points of it were removed meanwhile. Import it again.")
        assert await lab.rows(tables.machine_point) == []
        said = await imported(lab, repository)
        assert said == ["2 restore points imported, of 1 backup; 0 known already."]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("web.xml", True),
        ("..web", True),
        ("../web.xml", False),
        ("/etc/passwd", False),
        ("a/b", False),
        ("web/", False),
        ("..", False),
        (".", False),
        ("", False),
        ("a\0b", False),
    ],
)
def test_a_manifest_names_files_of_its_own_folder_only(name: str, plain: bool) -> None:
    assert is_plain_name(name) is plain


async def test_what_is_no_repository_or_is_in_use_here_is_refused(
    lab: Lab, tmp_path: Path, clock: HandClock
) -> None:
    write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    for folder, reason in (
        ("relative", "folder: expected the absolute path of a folder"),
        (str(tmp_path / "nowhere"), "holdfast-repository.json is missing"),
    ):
        outcome = await lab.command("import-repository", folder=folder)
        assert not outcome.success
        assert reason in outcome.message
    assert not (tmp_path / "nowhere").exists()
    # The server's own: all of it is known.
    known = await rows_of(lab)
    assert await imported(lab, lab.repository_path) == [
        "0 restore points imported, of 0 backups; 1 known already."
    ]
    assert await rows_of(lab) == known
    moved = tmp_path / "moved"
    shutil.copytree(lab.repository_path, moved)
    outcome = await lab.command("import-repository", folder=str(moved))
    assert 'is known here as "Main" in' in outcome.message
    async with new_server(tmp_path, clock) as other:
        outcome = await other.command("import-repository", folder=str(moved), name="Main")
        assert 'Repository "Main"' in outcome.message
