"""`holdfast unlock`: what is encrypted opened with the password alone, without any server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer

from holdfast.cli.errors import BadInput
from holdfast.cli.passwords import asked, first_line_of
from holdfast.engine.data_key import SEALED_SUFFIX, DataKey, has_seal, unseal
from holdfast.engine.durability import write_private
from holdfast.engine.image import restore_image
from holdfast.engine.key_file import read_key_file, unwrap
from holdfast.engine.qcow2_header import HEADER_BYTES, NotQcow2Error, parse_header

_LARGEST_SEALED = 128 * 1024 * 1024


def unlock(
    key_file: Annotated[
        Path, typer.Argument(metavar="KEY_FILE", help="The .key.json beside the backup.")
    ],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="File to make.")],
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What to decrypt: a .qcow2 or a .sealed of the backup."),
    ] = None,
    image_format: Annotated[
        Literal["raw", "qcow2", "vmdk"] | None,
        typer.Option("--format", help="Format of a disk image; by default raw."),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File whose first line is the password; else it is asked for."
        ),
    ] = None,
) -> None:
    """Open an encrypted backup with its password. No server and no database are needed.

    With --file, that file of the backup is decrypted to TARGET: a disk as it was at its point (the
    files that it is built on must lie beside it), or a sealed definition or NVRAM. Without it, the
    key that opens the disks is written to TARGET, for tools such as qemu-img.
    """
    known = read_key_file(key_file)
    if target.exists():
        raise BadInput(f"TARGET: {target}: expected a file that is not there yet")
    if not target.absolute().parent.is_dir():
        raise BadInput(f"TARGET: {target}: expected a file in a folder that is there")
    is_sealed = file is not None and file.name.endswith(SEALED_SUFFIX)
    if image_format is not None and (file is None or is_sealed):
        raise BadInput("--format: this is for a disk image; give --file with one, too")
    if file is not None:
        _expect_encrypted(file)
    if password_file is not None:
        password = first_line_of(password_file, "--password-file")
    else:
        hint = f" ({known.hint})" if known.hint else ""
        password = asked(f"Password{hint}", "--password-file")
    key = unwrap(known, password)
    if file is None:
        write_private(target, key.passphrase)
    elif is_sealed:
        write_private(target, _unsealed(file, key))
    else:
        asyncio.run(restore_image(file, target, format=image_format or "raw", key=key))
    typer.echo(target)


def _expect_encrypted(file: Path) -> None:
    """Raise BadInput unless a file may be one of an encrypted backup."""
    expected = "expected a .qcow2 or a .sealed file of an encrypted backup"
    try:
        with file.open("rb") as opened:
            start = opened.read(HEADER_BYTES)
        if has_seal(start) if file.name.endswith(SEALED_SUFFIX) else parse_header(start).encrypted:
            return
    except OSError as error:
        raise BadInput(f"--file: {file}: {expected}: {error.strerror}") from None
    except NotQcow2Error:
        pass
    raise BadInput(f"--file: {file}: {expected}")


def _unsealed(file: Path, key: DataKey) -> bytes:
    with file.open("rb") as sealed:
        return unseal(sealed.read(_LARGEST_SEALED), key, file.name)
