"""Files that were made here and are to go again: known by more than their names.

Somebody may have put another file in the place of one meanwhile, and that is not ours to remove.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.durability import remove_durably
from holdfast.engine.image_lock import unchanged_while_read

_MADE_WITH = "the file that the machine was made with"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file by its path, and the device and inode that it had: None where nobody has noted them.

    A device that is none (a share, a file system with subvolumes) gets another number with each
    mount, so that only the inode counts there, as it does where nobody has noted the device.
    """

    path: str
    device: int | None = None
    inode: int | None = None

    @classmethod
    def at(cls, path: Path) -> KnownFile:
        """Return the file that is at a path now. Blocking; raise OSError."""
        status = path.lstat()
        return cls(str(path), status.st_dev, status.st_ino)

    @property
    def is_noted(self) -> bool:
        """Whether it can be told from another file of its name."""
        return self.inode is not None

    def is_there(self) -> bool:
        """Say whether this very file has its name now. Blocking; raise OSError."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return False
        same = self.device in (None, status.st_dev) or (
            not os.major(self.device) and not os.major(status.st_dev)
        )
        return same and status.st_ino == self.inode


async def remove_known(files: Iterable[KnownFile], *, unused: bool = False) -> list[str]:
    """Remove files, each if it is the one that is known; return what is to be said of the others.

    Missing is fine. With ``unused``, raise ImageInUse when something writes to one. Raise OSError.
    """
    said = []
    for file in files:
        path = Path(file.path)
        if await asyncio.to_thread(file.is_there):
            if unused:
                with unchanged_while_read([path]):
                    await remove_durably(path)
            else:
                await remove_durably(path)
        elif not await asyncio.to_thread(os.path.lexists, path):
            continue
        elif file.is_noted:
            said.append(f"{path} stays: it is not {_MADE_WITH}, but another that was put there.")
        else:
            said.append(
                f"{path} stays, since it is not known whether it is still {_MADE_WITH}. Remove it "
                "if nobody needs it."
            )
    return said
