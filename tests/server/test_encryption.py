"""Encrypted backups of machines: unreadable in the repository, restorable with the password."""

# ruff: noqa: ASYNC240 - a test has the event loop for itself

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import update

from holdfast.engine import key_file
from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import KeyRefused, NoSpace
from holdfast.engine.image_rebuild import take_place
from holdfast.engine.key_file import SUFFIX, Wrapping, key_path, read_key_file, unwrap
from holdfast.server import machine_backup, machine_copy, settlement, tables
from holdfast.server.manifest import read_manifest
from support.disks import ext_image

from .lab import Lab, write_image
from .offsite import Offsite

SECRET = "correct horse battery staple"
PATTERN = b"a secret that nobody is to read. " * 16


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    # Slowness against guessing is no matter of these tests.
    monkeypatch.setattr(key_file, "_N", 2**10)


def converted(image: Path, key: Path, to: Path) -> bytes:
    """What a full holds, by QEMU's own tool and the file of a key."""
    name = f"driver=qcow2,encrypt.key-secret=k,file.filename={image}"
    arguments = ["--object", f"secret,id=k,file={key}", "--image-opts", name, "-O", "raw", str(to)]
    subprocess.run(["qemu-img", "convert", *arguments], check=True)
    return to.read_bytes()


OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]


async def password(lab: Lab, secret: str = SECRET, hint: str = "of the vault") -> UUID:
    outcome = await lab.command("create-password", hint=hint, password=secret)
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def use(lab: Lab, job: UUID, wanted: UUID | None) -> None:
    options = {} if wanted is None else {"encryption": str(wanted)}
    outcome = await lab.command("edit-job", job, options=options)
    assert outcome.success, outcome.message


def write_secret(lab: Lab, seed: int, name: str = "a.raw") -> bytes:
    """Write an image that has the pattern in it; return its content."""
    content = bytearray(write_image(lab.source(name), seed))
    at = seed * 128 * 1024
    content[at : at + len(PATTERN)] = PATTERN
    lab.source(name).write_bytes(content)
    return bytes(content)


async def run(lab: Lab, job: UUID, seed: int, result: str = "Success") -> tuple[bytes, str]:
    """Back the machine up; return what the point must hold, and what the session says of it."""
    content = write_secret(lab, seed)
    session = await lab.run(job)
    assert session.values["Result"] == result, session.values
    [task] = (await lab.tasks(session.uid)).values()
    return content, str(task.values.get("Reason") or "")


async def kinds(lab: Lab) -> list[str]:
    return [str(point.values["PointType"]) for point in await lab.points("a")]


async def restored(lab: Lab) -> list[bytes]:
    return [await lab.restored(point.uid) for point in await lab.points("a")]


def readable(folder: Path) -> list[str]:
    """The files of a repository that have the pattern in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if PATTERN[:64] in path.read_bytes()]


async def test_a_chain_is_unreadable_merged_rebuilt_and_restored(lab: Lab) -> None:
    wanted = await password(lab)
    options = {"encryption": str(wanted), "synthetic_full": {"week": ["Wednesday"]}}
    job = await lab.create_job("a.raw", retention=2, options=options)
    contents = []
    for day in range(4):
        content, _ = await run(lab, job, day)
        contents.append(content)
        assert await restored(lab) == contents[-2:]
        lab.clock.advance(timedelta(days=1) - timedelta(minutes=10))
    assert await kinds(lab) == ["Full", "Increment"]
    assert readable(lab.repository_path) == []
    for point in await lab.points("a"):
        assert point.values["Encryption"] == str(wanted)
    session = await lab.run(job, "check-job")
    assert session.values["Result"] == "Success"
    [key] = await lab.rows(tables.data_key)
    files = await lab.rows(tables.backup_file)
    assert {row.key_uid for row in files} == {key.uid}
    assert {read_manifest(lab.repository_path / row.path).key for row in files} == {key.uid}
    assert SECRET.encode() not in key.secret + key.wrapped.encode()


async def test_turning_it_on_off_or_to_another_password_begins_a_full(lab: Lab) -> None:
    offsite, job = await Offsite.of(lab), await lab.create_job("a.raw", retention=9)
    copying = await offsite.copy_job(job, retention=9)
    one, other = await password(lab), await password(lab, "another")
    contents, told, copied, wanted = [], [], [], (None, one, one, other, None, None)
    # Only that it is no longer encrypted is bad news.
    results = ["Success"] * 4 + ["Warning", "Success"]
    for seed, (each, result) in enumerate(zip(wanted, results, strict=True)):
        await use(lab, job, each)
        content, reason = await run(lab, job, seed, result)
        contents.append(content)
        told.append(reason)
        session = await lab.run(copying)
        assert session.values["Result"] == result
        [task] = (await lab.tasks(session.uid)).values()
        copied.append(task.values.get("Reason") or "")
    points = await lab.rows(tables.machine_point)
    assert len(points) == 12
    for point in points:
        originals = sorted(row.created for row in points if row.copied_from is None)
        assert await lab.restored(point.uid) == contents[originals.index(point.created)]
    own = [row for row in points if row.copied_from is None]
    shown = [await lab.resource("VmRestorePoint", row.uid) for row in own]
    shown.sort(key=lambda point: point.values["CreationTimeUTC"])
    assert [point.values["PointType"] for point in shown] == [
        *("Full", "Full", "Increment", "Full", "Full", "Increment")
    ]
    assert [p.values.get("Encryption") for p in shown] == [each and str(each) for each in wanted]
    assert "encrypts its backup from now on" in told[1]
    assert "another password" in told[3]
    assert "it is not encrypted from now on" in told[4]
    assert (told[0], told[2], told[5]) == ("", "", "")
    assert "on, the copies are encrypted with the key of what they are copies of" in copied[1]
    assert "on, the copies are not encrypted any more" in copied[4]
    assert [bool(reason) for reason in copied] == [False, True, False, False, True, False]


async def test_that_it_is_no_longer_encrypted_is_told_beside_what_else_is_bad(lab: Lab) -> None:
    wanted = await password(lab)
    job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
    await run(lab, job, 1)
    # As a check has found.
    await lab.write(lambda c: c.execute(update(tables.machine_point).values(damaged="gone bad")))
    await use(lab, job, None)
    _, reason = await run(lab, job, 2, "Warning")
    assert "the newest restore point is damaged: gone bad, and the job does not encrypt" in reason


async def test_a_one_off_backup_is_encrypted_with_the_password_that_is_named(lab: Lab) -> None:
    content = write_secret(lab, seed=1)
    await lab.create_job("a.raw")
    wanted = await password(lab)
    [machine] = await lab.resources("ObjectInJob")
    arguments: dict[str, Any] = {
        "machines": [machine.values["HierarchyObjRef"]],
        "repository": str(lab.repository),
    }
    refused = await lab.command("one-off-backup", **arguments, encryption=str(uuid4()))
    assert "options.encryption: expected the UID of a password" in refused.message
    assert (await lab.command("one-off-backup", **arguments, encryption=str(wanted))).success
    await lab.server.wait_until_idle()
    assert await restored(lab) == [content]
    [file] = lab.repository_path.glob("*/*.qcow2")
    assert readable(lab.repository_path) == []
    assert list(file.parent.glob("*.key.json"))
    assert "1 restore point in" in (await lab.command("delete-password", wanted)).message


async def test_a_password_that_something_needs_stays(lab: Lab) -> None:
    wanted = await password(lab)
    job = await lab.create_job("a.raw", retention=1, options={"encryption": str(wanted)})
    refused = await lab.command("delete-password", wanted)
    assert (refused.success, refused.message) == (
        False,
        'Job "Nightly" encrypts its backup with this password.',
    )
    content, _ = await run(lab, job, 1)
    await use(lab, job, None)
    refused = await lab.command("delete-password", wanted)
    assert not refused.success
    assert '1 restore point in the backups of "Nightly"' in refused.message
    assert await restored(lab) == [content]
    # When retention has taken the last of them, it may go.
    await run(lab, job, 2, "Warning")
    assert (await lab.command("delete-password", wanted)).success
    assert await lab.rows(tables.data_key) == []


async def test_a_password_that_a_running_session_has_taken_up_stays(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_secret(lab, 1)
    wanted, other = await password(lab), await password(lab, "another")
    job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
    await lab.create_job("b.raw", job="Apart", options={"encryption": str(wanted)})
    both = await lab.command("delete-password", wanted)
    assert both.message == 'The jobs "Apart", "Nightly" encrypt their backups with this password.'
    [apart] = [row.uid for row in await lab.rows(tables.job) if row.name == "Apart"]
    await use(lab, apart, other)
    said, real = [], machine_backup.back_up_image

    async def meanwhile(*arguments: Any) -> Any:
        # The job has another one from now on, and there is no file yet.
        await use(lab, job, other)
        said.append((await lab.command("delete-password", wanted)).message)
        return await real(*arguments)

    monkeypatch.setattr(machine_backup, "back_up_image", meanwhile)
    assert (await lab.run(job)).values["Result"] == "Success"
    assert said == ['Sessions of "Nightly" are running, and may encrypt with this password.']
    assert len(await restored(lab)) == 1


async def test_a_new_secret_opens_what_was_encrypted_before(lab: Lab, tmp_path: Path) -> None:
    wanted = await password(lab)
    job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
    contents = [(await run(lab, job, 1))[0]]
    [folder] = lab.repository_path.glob("*/")
    [found] = folder.glob(f"*{SUFFIX}")
    before = {path: path.read_bytes() for path in folder.glob("*.qcow2")}
    assert (await lab.command("edit-password", wanted, password="new", hint="newer")).success

    async def renewed() -> bool:
        return read_key_file(found).hint == "newer"

    await lab.until(renewed)
    assert {path: path.read_bytes() for path in folder.glob("*.qcow2")} == before
    with pytest.raises(KeyRefused, match="newer"):
        unwrap(read_key_file(found), SECRET)
    # The chain goes on.
    contents.append((await run(lab, job, 2))[0])
    assert await kinds(lab) == ["Full", "Increment"]
    assert await restored(lab) == contents
    # By hand, with the repository and the password alone.
    key = unwrap(read_key_file(found), "new")
    opening = tmp_path / "key"
    opening.write_text(key.secret)
    newest = (await lab.points("a"))[0]
    [image] = [path for path in folder.glob("*.qcow2") if read_manifest(path).point == newest.uid]
    assert converted(image, opening, tmp_path / "by-hand") == contents[0]


async def test_a_password_that_is_changed_while_its_first_backup_or_copy_is_made_opens_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsite, wanted = await Offsite.of(lab), await password(lab)
    job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
    copying = await offsite.copy_job(job)
    content = write_secret(lab, 1)
    for module, step, each, folder, secret in (
        (machine_backup, "back_up_image", job, lab.repository_path, "second"),
        (machine_copy, "copy_image", copying, offsite.path, "third"),
    ):
        real = getattr(module, step)

        async def meanwhile(*arguments: Any, real: Any = real, secret: str = secret) -> Any:
            assert (await lab.command("edit-password", wanted, password=secret)).success
            return await real(*arguments)

        monkeypatch.setattr(module, step, meanwhile)
        assert (await lab.run(each)).values["Result"] == "Success"
        [found] = folder.glob(f"*/*{SUFFIX}")

        async def opens(found: Path = found, secret: str = secret) -> bool:
            try:
                return bool(unwrap(read_key_file(found), secret))
            except KeyRefused:
                return False

        await lab.until(opens)
    assert await restored(lab) == [content, content]


async def test_the_file_of_a_key_is_replaced_only_by_one_that_opens(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await password(lab)
    job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
    await run(lab, job, 1)
    [found] = lab.repository_path.glob(f"*/*{SUFFIX}")
    before = found.read_bytes()
    [row] = await lab.rows(tables.data_key)
    for secret, key in (("not it", row.uid), (SECRET, uuid4())):
        # As if what was kept of the key were damaged.
        wrong = Wrapping(secret, "").wrap(DataKey.draw(), key)
        wrong = msgspec.structs.replace(wrong, key=row.uid)
        text = msgspec.json.encode(wrong).decode()
        await lab.write(lambda c, t=text: c.execute(update(tables.data_key).values(wrapped=t)))
        assert not await lab.server.repositories.renew_key_files()
        assert found.read_bytes() == before
    # The key itself is whole, and can be wrapped anew.
    assert (await lab.command("edit-password", wanted, password="new")).success
    assert await lab.server.repositories.renew_key_files()
    assert unwrap(read_key_file(found), "new")
    with monkeypatch.context() as changed:
        # What was seen to be right costs nothing after each session.
        changed.setattr(lab.server.repositories.data_keys, "put_beside", None)
        assert await lab.server.repositories.renew_key_files()
    # One that somebody has deleted is put back, but not where there is no backup any more.
    found.unlink()
    assert await lab.server.repositories.renew_key_files()
    assert unwrap(read_key_file(found), "new")
    shutil.rmtree(found.parent)
    assert await lab.server.repositories.renew_key_files()
    assert not found.parent.exists()


async def test_what_a_crash_left_of_a_merge_or_a_new_full_is_carried_on(
    open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_lab() as lab:
        wanted = await password(lab)
        job = await lab.create_job("a.raw", retention=2, options={"encryption": str(wanted)})
        contents = [(await run(lab, job, seed))[0] for seed in range(2)]
        merge = settlement.merge_into_parent

        async def cut_off(*arguments: Any, **more: Any) -> Any:
            await merge(*arguments, **more)
            raise NoSpace("the power failed")

        monkeypatch.setattr(settlement, "merge_into_parent", cut_off)
        contents.append(write_secret(lab, 2))
        assert (await lab.run(job)).values["Result"] == "Warning"
        monkeypatch.undo()
    async with open_lab() as lab:
        assert await lab.rows(tables.intent) == []
        assert await kinds(lab) == ["Full", "Increment"]
        assert await restored(lab) == contents[1:]
        # A full of the newest point, cut off when its file has taken the place of the old one.
        options = {"encryption": str(wanted), "synthetic_full": {"week": ["Wednesday"]}}
        assert (await lab.command("edit-job", job, retention=9, options=options)).success

        async def taken(file: Path) -> None:
            await take_place(file)
            raise NoSpace("the power failed")

        monkeypatch.setattr(settlement, "take_place", taken)
        lab.clock.advance(timedelta(days=2))
        contents.append(write_secret(lab, 3))
        await lab.run(job)
        monkeypatch.undo()
    async with open_lab() as lab:
        assert await lab.rows(tables.intent) == []
        assert await restored(lab) == contents[1:]
        assert readable(lab.repository_path) == []


def test_one_password_wraps_many_keys_each_to_be_opened_alone() -> None:
    keys = {uuid4(): DataKey.draw() for _ in range(2)}
    wrapping = Wrapping("secret", "hint")
    files = [wrapping.wrap(key, uid) for uid, key in keys.items()]
    assert [unwrap(file, "secret") for file in files] == list(keys.values())
    assert len({file.nonce for file in files}) == 2
    exchanged = msgspec.structs.replace(files[0], key=files[1].key)
    with pytest.raises(KeyRefused):
        unwrap(exchanged, "secret")


async def test_a_copy_has_what_opens_it_and_outlives_its_source(lab: Lab) -> None:
    offsite = await Offsite.of(lab)
    wanted = await password(lab)
    job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
    contents = [(await run(lab, job, seed))[0] for seed in range(2)]
    copying = await offsite.copy_job(job)
    await lab.begin(copying)
    await lab.server.wait_until_idle()
    points = await offsite.points()
    assert len(points) == 2
    [key] = await lab.rows(tables.data_key)
    [folder] = offsite.path.glob("*/")
    assert unwrap(read_key_file(key_path(folder, key.uid)), SECRET)
    for path in lab.repository_path.glob("*/*.qcow2"):
        path.unlink()
    assert [await lab.restored(point.uid) for point in points] == contents
    assert readable(offsite.path) == []
    assert "2 restore points" not in (await lab.command("delete-password", wanted)).message
    await use(lab, job, None)
    assert (
        '4 restore points in the backups of "Copy", "Nightly"'
        in (await lab.command("delete-password", wanted)).message
    )


async def test_files_are_read_inside_an_encrypted_point(lab: Lab, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "letter.txt").write_bytes(b"dear reader")
    ext_image(lab.source("a.raw"), tree)
    wanted = await password(lab)
    job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
    assert (await lab.run(job)).values["Result"] == "Success"
    [point] = await lab.points("a")
    made = await lab.command("mount-point", point.uid)
    assert made.made is not None, made.message
    mounts = lab.server.mounts
    with mounts.using(made.made.uid) as mount:
        roots = await mount.browser.listing((), "all", 0, 10)
        path = (roots.entries[0].name, "letter.txt")
        assert b"".join([piece async for piece in mount.browser.content(path)]) == b"dear reader"
    await mounts.release(made.made.uid)


async def test_what_cannot_be_encrypted_is_refused_with_the_field(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    (lab.source("tree")).mkdir()
    wanted = await password(lab)
    repository = str(lab.repository)
    for more, message in (
        ({"encryption": str(uuid4())}, "options.encryption: expected the UID of a password"),
        ({"encryption": "vault"}, "encryption"),
    ):
        sources = [{"path": str(lab.source("a.raw"))}]
        refused = await lab.command(
            "create-job", name="x", sources=sources, repository=repository, options=more
        )
        assert not refused.success
        assert message in refused.message
    refused = await lab.command(
        "create-job",
        name="x",
        kind="NasBackup",
        sources=[{"path": str(lab.source("tree"))}],
        repository=repository,
        options={"encryption": str(wanted)},
    )
    assert not refused.success
    assert "options.encryption: restic encrypts" in refused.message


async def test_without_the_server_s_own_key_the_reason_says_what_opens_the_backup(
    open_lab: OpenLab, tmp_path: Path
) -> None:
    async with open_lab() as lab:
        wanted = await password(lab)
        job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
        await run(lab, job, 1)
    (tmp_path / "server" / "keys" / "secrets.key").write_bytes(bytes(32))
    async with open_lab() as lab:
        [point] = await lab.points("a")
        with pytest.raises(KeyRefused, match=r"\.key\.json beside the backup"):
            await lab.restored(point.uid)
        assert not list(tmp_path.glob("restored-*"))
        session = await lab.run(job)
        assert session.values["Result"] == "Failed"
        assert 'Enter the password "of the vault" of this backup server again' in str(
            session.values
        )
        assert len(await lab.points("a")) == 1


@pytest.mark.parametrize("entered", ["again", "anew"])
async def test_when_the_server_s_own_key_is_lost_the_password_takes_the_chain_up_again(
    open_lab: OpenLab, tmp_path: Path, entered: str
) -> None:
    async with open_lab() as lab:
        wanted, other = await password(lab), await password(lab, "of another job", "other")
        job = await lab.create_job("a.raw", options={"encryption": str(wanted)})
        contents = [(await run(lab, job, 1))[0]]
        write_image(lab.source("b.raw"), 7)
        apart = await lab.create_job("b.raw", job="Apart", options={"encryption": str(other)})
        await lab.run(apart)
        before = {row.uid for row in await lab.rows(tables.data_key)}
    (tmp_path / "server" / "keys" / "secrets.key").unlink()
    async with open_lab() as lab:
        [found] = lab.repository_path.glob(f"Nightly*/*{SUFFIX}")
        for secret in ("not the one", "of another job"):
            refused = await lab.command("edit-password", wanted, password=secret)
            assert not refused.success
            assert 'does not open what the backup "Nightly" is encrypted with' in refused.message
            assert unwrap(read_key_file(found), SECRET)
        if entered == "again":
            assert (await lab.command("edit-password", wanted, password=SECRET)).success
        else:
            await password(lab, SECRET, "the same, once more")
        contents.append((await run(lab, job, 2))[0])
        assert await kinds(lab) == ["Full", "Increment"]
        assert await restored(lab) == contents
        assert {row.uid for row in await lab.rows(tables.data_key)} == before
        # What another password has encrypted needs that one.
        assert "Enter the password" in str((await lab.run(apart)).values)
        # From now on it may be changed again.
        assert (await lab.command("edit-password", wanted, password="new")).success
        assert await restored(lab) == contents

        async def renewed() -> bool:
            try:
                return unwrap(read_key_file(found), "new") is not None
            except KeyRefused:
                return False

        await lab.until(renewed)
