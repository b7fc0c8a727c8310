"""`holdfast unlock`: an encrypted backup is opened with its files and the password alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from holdfast.cli.application import run
from holdfast.engine import key_file
from holdfast.engine.data_key import DataKey, seal
from holdfast.engine.image import ImagePlan, back_up_image
from holdfast.engine.key_file import Wrapping, key_path, write_key_file
from holdfast.engine.qemu_image import Storing
from server.lab import write_image

SECRET = "correct horse battery staple"


@pytest.fixture
async def backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, list[bytes]]:
    """The folder of two encrypted points, the file of their key, and what they hold."""
    monkeypatch.setattr(key_file, "_N", 2**10)
    folder, key, uid = tmp_path / "backup", DataKey.draw(), uuid4()
    folder.mkdir()
    path = key_path(folder, uid)
    write_key_file(path, Wrapping(SECRET, "of the vault").wrap(key, uid))
    source, contents = tmp_path / "a.raw", []
    plan = ImagePlan(source, folder / "p0.qcow2", None, "raw", Storing(key=key))
    for number in range(2):
        contents.append(write_image(source, number))
        target = folder / f"p{number}.qcow2"
        await back_up_image(replace(plan, target=target))
        plan = replace(plan, parent=target)
    sealed = folder / "p1.xml.sealed"
    sealed.write_bytes(seal(b"<domain/>", key, sealed.name))
    return folder, path, contents


async def test_disks_definitions_and_the_key_itself(
    backup: tuple[Path, Path, list[bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key, contents = backup
    given, out = tmp_path / "password", tmp_path / "out"
    given.write_text(f"{SECRET}\n")

    async def unlocked(*arguments: str | Path) -> bytes:
        words = ["unlock", key, out, "--password-file", given, *arguments]
        assert await asyncio.to_thread(run, list(map(str, words))) == 0, capsys.readouterr().err
        assert out.stat().st_mode & 0o077 == 0
        content = out.read_bytes()
        out.unlink()
        return content

    for number, content in enumerate(contents):
        assert await unlocked("--file", folder / f"p{number}.qcow2") == content
    assert await unlocked("--file", folder / "p1.xml.sealed") == b"<domain/>"
    secret = (await unlocked()).decode()
    assert len(bytes.fromhex(secret)) == 32
    said = capsys.readouterr()
    assert secret not in said.out + said.err


async def test_a_wrong_password_and_wrong_files_are_told_and_leave_nothing(
    backup: tuple[Path, Path, list[bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key, _ = backup
    right, wrong, out = tmp_path / "password", tmp_path / "wrong", tmp_path / "out"
    right.write_text(SECRET)
    wrong.write_text("guess")
    other = folder / "other.key.json"
    other.write_text("{}")
    sealed = folder / "p9.xml.sealed"  # not the name that it was sealed for
    sealed.write_bytes((folder / "p1.xml.sealed").read_bytes())
    plain, text, nowhere = tmp_path / "plain.qcow2", folder / "x.json", tmp_path / "nodir" / "x"
    await back_up_image(ImagePlan(tmp_path / "a.raw", plain, None, "raw"))
    text.write_text("{}")
    naked = folder / "naked.xml.sealed"
    naked.write_bytes(b"<domain/>")
    no_backup = "expected a .qcow2 or a .sealed file of an encrypted backup"
    for words, code, message in (
        ((key, nowhere, "--password-file", right), 2, f"TARGET: {nowhere}: expected"),
        ((key, out, "--password-file", right, "--format", "qcow2"), 2, "--format: this is for a"),
        *(
            (
                (key, out, "--password-file", right, "--file", each),
                2,
                f"--file: {each}: {no_backup}",
            )
            for each in (plain, text, naked, tmp_path / "gone.qcow2")
        ),
        ((key, out, "--password-file", wrong), 1, 'Its hint is: "of the vault".'),
        ((other, out, "--password-file", right), 1, "is not the file of a key"),
        ((key, right, "--password-file", right), 2, "expected a file that is not there yet"),
        ((key, out, "--password-file", right, "--file", sealed), 1, "cannot be decrypted"),
    ):
        assert await asyncio.to_thread(run, ["unlock", *map(str, words)]) == code
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
        assert not out.exists()
