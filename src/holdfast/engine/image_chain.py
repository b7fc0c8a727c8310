"""The files of one image chain in a repository, as their own headers tell it.

Every file is a qcow2; an increment names its parent by a plain name in the same folder, so that a
repository can be moved or mounted elsewhere. An encrypted file has a plain header, so that all of
this needs no key.
"""

from pathlib import Path

from holdfast.engine.errors import ChainBroken
from holdfast.engine.qcow2_header import NotQcow2Error, Qcow2Header, read_header


def read_backup_header(path: Path) -> Qcow2Header:
    """Given a backup file, return its header. Blocking; raise ChainBroken naming the file."""
    try:
        header = read_header(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ChainBroken(f"The backup file {path} is missing.") from error
    except OSError as error:
        raise ChainBroken(
            f"The backup file {path} cannot be read: {error.strerror or error}."
        ) from error
    except NotQcow2Error as error:
        raise ChainBroken(f"The backup file {path} is damaged: {error}.") from error
    name = header.backing_name
    if name is not None and (Path(name).name != name or ":" in name):
        raise ChainBroken(
            f"The backup file {path} depends on {name}, which is not a file in its own folder."
        )
    if (header.encrypted and not header.luks) or header.external_data_file:
        raise ChainBroken(f"The backup file {path} was not written by Holdfast.")
    return header


def backup_files(point: Path) -> list[Path]:
    """Given a point's backup file, return all files that a restore of it reads, itself first.

    Blocking; raise ChainBroken naming the first file that is missing or damaged.
    """
    files = [point]
    while (name := read_backup_header(files[-1]).backing_name) is not None:
        parent = point.with_name(name)
        if parent in files:
            raise ChainBroken(f"The backup file {parent} depends on itself.")
        files.append(parent)
    return files
