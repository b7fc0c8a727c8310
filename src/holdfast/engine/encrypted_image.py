"""Makes empty encrypted qcow2 files. See `luks_header` for why QEMU does not.

Only the disk's data is encrypted (with LUKS, inside the qcow2). Sizes, what is empty, and the name
of the parent are not, so that a chain can be followed, and judged, without a key. The format is
QEMU's docs/interop/qcow2.txt; all numbers are big-endian.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from holdfast.engine.luks_header import HEADER_BYTES, luks_header, opens
from holdfast.engine.qcow2_header import CLUSTER_BITS, Layout, made_header

_CLUSTER = 1 << CLUSTER_BITS
_L2_COVERS = _CLUSTER * _CLUSTER // 8  # bytes of the disk that one table of the second level maps
_REFCOUNT_TABLE, _REFCOUNT_BLOCK, _ENCRYPTION = 1, 2, 3  # the numbers of clusters


def create_encrypted(path: Path, size: int, passphrase: bytes, backing_name: str | None) -> None:
    """Make an empty encrypted qcow2 of ``size`` bytes, for its owner alone, on another or on none.

    ``backing_name`` is that of an encrypted qcow2 in the same folder, which is not looked at.
    Blocking; raise OSError, FileExistsError when there is something already.
    """
    encryption = luks_header(passphrase)
    encryption_clusters = _clusters(HEADER_BYTES)
    l1_entries = -(-size // _L2_COVERS)
    l1_at = _ENCRYPTION + encryption_clusters
    used = l1_at + _clusters(l1_entries * 8)
    layout = Layout(
        virtual_size=size,
        l1_at=l1_at * _CLUSTER,
        l1_entries=l1_entries,
        refcounts_at=_REFCOUNT_TABLE * _CLUSTER,
        encryption=(_ENCRYPTION * _CLUSTER, HEADER_BYTES),
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made_header(layout, backing_name))
        file.seek(_REFCOUNT_TABLE * _CLUSTER)
        file.write(struct.pack(">Q", _REFCOUNT_BLOCK * _CLUSTER))
        file.seek(_REFCOUNT_BLOCK * _CLUSTER)
        file.write(struct.pack(">H", 1) * used)
        file.seek(_ENCRYPTION * _CLUSTER)
        file.write(encryption)
        file.truncate(used * _CLUSTER)


def is_opened_by(path: Path, passphrase: bytes) -> bool:
    """Say whether a passphrase is that of an encrypted qcow2 made here. Blocking; raise OSError."""
    with path.open("rb") as file:
        file.seek(_ENCRYPTION * _CLUSTER)
        header = file.read(HEADER_BYTES)
    return len(header) == HEADER_BYTES and opens(header, passphrase)


def _clusters(size: int) -> int:
    return -(-size // _CLUSTER)
