"""A database is lost: what is encrypted in its repository comes back with the password alone."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from holdfast.engine import key_file
from holdfast.engine.data_key import DataKey
from holdfast.engine.errors import KeyRefused
from holdfast.engine.key_file import SUFFIX, Wrapping, read_key_file, unwrap, write_key_file
from holdfast.server import backup_server, tables
from holdfast.server.manifest import read_manifest, write_manifest

from .lab import HandClock, Lab, running_lab, write_image
from .offsite import Offsite
from .test_repository_import import imported, new_server, rows_of

SECRET, HINT = "correct horse battery staple", "of the vault"


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    # Slowness against guessing is no matter of these tests.
    monkeypatch.setattr(key_file, "_N", 2**10)


async def password(lab: Lab, secret: str, hint: str = HINT) -> UUID:
    outcome = await lab.command("create-password", hint=hint, password=secret)
    assert outcome.made is not None, outcome.message
    return outcome.made.uid


async def leave_encrypted_points(lab: Lab) -> list[bytes]:
    """Back up three times and keep two; return what these hold, the oldest first."""
    options = {"encryption": str(await password(lab, SECRET))}
    job = await lab.create_job("a.raw", retention=2, options=options)
    contents = []
    for number in range(3):
        contents.append(write_image(lab.source("a.raw"), number))
        assert (await lab.run(job)).values["Result"] == "Success"
    await lab.run(await (await Offsite.of(lab)).copy_job(job))
    return contents[1:]


async def restored(lab: Lab) -> list[bytes]:
    """Return what all points hold, the oldest first."""
    rows = sorted(await lab.rows(tables.machine_point), key=lambda row: row.created)
    return [await lab.restored(row.uid) for row in rows]


async def test_a_new_server_opens_what_a_lost_one_has_encrypted(
    tmp_path: Path, clock: HandClock
) -> None:
    async with running_lab(tmp_path, clock) as lab:
        contents = await leave_encrypted_points(lab)
        repository, offsite = lab.repository_path, (await Offsite.of(lab)).path
    shutil.rmtree(tmp_path / "server")
    async with new_server(tmp_path, clock) as lab:
        await password(lab, "another one")
        first, _heading, *problems = await imported(lab, repository)
        assert first == "0 restore points imported, of 0 backups; 0 known already."
        assert len(problems) == 2
        for problem in problems:
            assert f'whose hint is "{HINT}".' in problem
            assert "Add its password to those of this backup server and import again" in problem
        assert await lab.rows(tables.data_key) == []

        uid = await password(lab, SECRET)
        said = await imported(lab, repository)
        assert said == ["2 restore points imported, of 1 backup; 0 known already."]
        assert await restored(lab) == contents
        # The copies have the same key, which is known by now.
        said = await imported(lab, offsite)
        assert said == ["2 restore points imported, of 1 backup; 0 known already."]
        assert sorted(await restored(lab)) == sorted(2 * contents)
        known = await rows_of(lab)
        said = await imported(lab, repository)
        assert said == ["0 restore points imported, of 0 backups; 2 known already."]
        assert await rows_of(lab) == known

        refused = await lab.command("delete-password", uid)
        assert not refused.success
        assert "restore points in the backups of" in refused.message
        # A new password opens them from then on, also where the server's database is lost again.
        assert (await lab.command("edit-password", uid, password="new", hint="newer")).success
        files = [*repository.glob(f"*/*{SUFFIX}"), *offsite.glob(f"*/*{SUFFIX}")]
        assert len(files) == 2

        async def renewed() -> bool:
            return all(read_key_file(each).hint == "newer" for each in files)

        await lab.until(renewed)
        assert unwrap(read_key_file(files[0]), "new") == unwrap(read_key_file(files[1]), "new")
    async with new_server(tmp_path, clock) as lab:
        assert sorted(await restored(lab)) == sorted(2 * contents)


async def test_a_new_password_opens_copies_that_were_away_when_it_was_made_on_another_server(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_server, "_RENEW_SECONDS", 0.05)
    async with running_lab(tmp_path, clock) as lab:
        contents = await leave_encrypted_points(lab)
        offsite = (await Offsite.of(lab)).path
        [near] = lab.repository_path.glob(f"*/*{SUFFIX}")
        [far] = offsite.glob(f"*/*{SUFFIX}")
        [uid] = [row.uid for row in await lab.rows(tables.password_key)]
        before = far.read_bytes()
        offsite.rename(tmp_path / "away")
        assert (await lab.command("edit-password", uid, password="new", hint="newer")).success

        async def renewed(file: Path = near) -> bool:
            return read_key_file(file).hint == "newer"

        await lab.until(renewed)
        assert not offsite.exists()
        (tmp_path / "away").rename(offsite)
        assert far.read_bytes() == before
        await lab.until(partial(renewed, far))
    shutil.rmtree(tmp_path / "server")
    shutil.rmtree(lab.repository_path)
    async with new_server(tmp_path, clock) as lab:
        await password(lab, SECRET)
        assert 'whose hint is "newer"' in (await imported(lab, offsite))[2]
        await password(lab, "new")
        said = await imported(lab, offsite)
        assert said == ["2 restore points imported, of 1 backup; 0 known already."]
        assert await restored(lab) == contents


@pytest.mark.parametrize("name", ["moved by hand [2] & more: новые", "Ночные копии " * 10])
async def test_the_key_of_an_imported_backup_is_renewed_in_its_own_folder(
    tmp_path: Path, clock: HandClock, name: str
) -> None:
    async with running_lab(tmp_path, clock) as lab:
        contents = await leave_encrypted_points(lab)
        repository = lab.repository_path
    shutil.rmtree(tmp_path / "server")
    [keys] = repository.glob(f"*/*{SUFFIX}")
    keys = keys.parent.rename(repository / name) / keys.name
    async with new_server(tmp_path, clock) as lab:
        uid = await password(lab, SECRET)
        said = await imported(lab, repository)
        assert said == ["2 restore points imported, of 1 backup; 0 known already."]
        assert (await lab.command("edit-password", uid, password="new", hint="newer")).success

        async def renewed() -> bool:
            return read_key_file(keys).hint == "newer"

        await lab.until(renewed)
        with pytest.raises(KeyRefused):
            unwrap(read_key_file(keys), SECRET)
        unwrap(read_key_file(keys), "new")
        assert [path for path in repository.iterdir() if path.is_dir()] == [keys.parent]
        assert await restored(lab) == contents


async def test_what_does_not_fit_its_key_is_told_and_left_out(
    tmp_path: Path, clock: HandClock
) -> None:
    async with running_lab(tmp_path, clock) as lab:
        contents = await leave_encrypted_points(lab)
        repository = lab.repository_path
    shutil.rmtree(tmp_path / "server")
    [keys] = repository.glob(f"*/*{SUFFIX}")
    good = read_key_file(keys)
    full, increment = sorted(
        keys.parent.glob("*.qcow2"), key=lambda path: read_manifest(path).created
    )
    manifest = read_manifest(increment)
    async with new_server(tmp_path, clock) as lab:
        await password(lab, SECRET)

        async def problems() -> str:
            first, *rest = await imported(lab, repository)
            assert first.endswith("; 0 known already.")
            return " ".join(rest)

        keys.unlink()
        assert f"{keys} cannot be read" in await problems()
        write_key_file(keys, Wrapping(SECRET, HINT).wrap(DataKey.draw(), uuid4()))
        assert f"{keys} holds another key" in await problems()
        keys.write_text("{")
        assert "is not the file of a key" in await problems()
        # The password opens it, but it holds what the backups were not encrypted with.
        other = Wrapping(SECRET, HINT).wrap(DataKey.draw(), good.key)
        write_key_file(keys, other)
        assert "needs another key" in await problems()
        assert await lab.rows(tables.machine_point) == []
    shutil.rmtree(tmp_path / "other")
    write_key_file(keys, good)
    await write_manifest(increment, msgspec.structs.replace(manifest, key=None))
    async with new_server(tmp_path, clock) as lab:
        await password(lab, SECRET)
        assert f"has not the key of {full.name}, which it is built on" in await problems()
        assert await restored(lab) == contents[:1]
        await write_manifest(increment, manifest)
        await imported(lab, repository)
        assert await restored(lab) == contents
