"""How QEMU's tools are told which image to open, where a plain path does not say enough.

The files below an encrypted image are named one by one, each with its key: QEMU itself would look
for them by the names in the headers, and would not know that they have one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from holdfast.engine.data_key import KEY_ID
from holdfast.engine.image_chain import backup_files, read_backup_header

Node = dict[str, object]


def plain_node(path: Path, format: str) -> Node:
    """Return an image that is not encrypted, with what its own header says that it is built on.

    ``path`` may be a block device.
    """
    driver = "host_device" if format == "raw" and path.is_block_device() else "file"
    return {"driver": format, "file": {"driver": driver, "filename": os.fspath(path.absolute())}}


def encrypted_node(path: Path, backing: Mapping[str, object] | None = None) -> Node:
    """Return an encrypted image, built on another that is given, or read alone."""
    return {
        **plain_node(path, "qcow2"),
        "encrypt": {"format": "luks", "key-secret": KEY_ID},
        "backing": backing,
    }


def chain_node(point: Path) -> Node:
    """Given a backup file, return the image that it is with all that it is built on.

    Blocking; raise ChainBroken.
    """
    node: Node | None = None
    for file in reversed(backup_files(point)):
        if read_backup_header(file).encrypted:
            node = encrypted_node(file, node)
        else:
            node = {**plain_node(file, "qcow2"), "backing": node}
    assert node is not None  # noqa: S101 - the point itself is one of the files
    return node


def layer_node(file: Path) -> Node:
    """Given a backup file, return the image that it is alone. Blocking; raise ChainBroken."""
    if read_backup_header(file).encrypted:
        return encrypted_node(file)
    return {**plain_node(file, "qcow2"), "backing": None}


def name_of(node: Mapping[str, object]) -> str:
    """Return an image as the name that QEMU's tools take."""
    return f"json:{msgspec.json.encode(node).decode()}"
