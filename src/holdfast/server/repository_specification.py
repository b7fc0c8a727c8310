"""What a backup server is told when it is to import a repository. See `repository_import`."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec


class RepositoryImport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which folder of the backup server holds the repository, and the name it is to have here.

    Without a `name` it is called as the folder is.
    """

    folder: str
    name: str = ""

    def __post_init__(self) -> None:
        if not PurePosixPath(self.folder).is_absolute():
            raise ValueError("folder: expected the absolute path of a folder")
