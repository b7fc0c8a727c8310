"""Whether a file of a backup is still what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast.engine.durability import sha256_of
from holdfast.engine.errors import ChainBroken


async def check_file(
    path: Path, sha256: str, on_bytes: Callable[[int], None] | None = None
) -> None:
    """Read a file of a backup; raise ChainBroken, naming it, unless it has this SHA-256.

    ``on_bytes`` is told how many bytes were read so far.
    """
    try:
        digest = await sha256_of(path, on_bytes)
    except FileNotFoundError as error:
        raise ChainBroken(f"The backup file {path} is missing.") from error
    except OSError as error:
        raise ChainBroken(
            f"The backup file {path} cannot be read: {error.strerror or error}."
        ) from error
    if digest != sha256:
        raise ChainBroken(
            f"The backup file {path} is damaged: its checksum is not the one it was written with."
        )
