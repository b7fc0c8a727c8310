"""What a file of NTFS is, and why its content may not be what lies on the disk under its name.

A *reparse point* is a file or folder of which its tag says who is to be asked for it. Some are
links (symbolic ones, mount points). Of others the data is elsewhere, or stored in a way of its own:
what the file system itself holds of them is then zeros. Files that Windows has encrypted (EFS)
are there as they are encrypted. The tags are those of [MS-FSCC] 2.1.2.1.
"""

from __future__ import annotations

import struct
from typing import Any

import pytsk3

from holdfast.engine.guest_entry import Kind

_DATA = int(pytsk3.TSK_FS_ATTR_TYPE_NTFS_DATA)
_REPARSE = int(pytsk3.TSK_FS_ATTR_TYPE_NTFS_REPARSE)
_HEAD = struct.Struct("<IHH")
_NAME_SURROGATE = 1 << 29  # it stands for something of another name: a link
_NFS = 0x80000014
_NFS_LINK = b"LNK\x01"
_PROGRAM_ALIAS = 0x8000001B
_UNKNOWN = 0
_CLOUD = 0x9000001A
_CLOUD_KINDS = 0xF000  # the bits by which the tags of cloud providers differ
#: Sockets, FIFOs and devices of Linux programs on Windows.
_SPECIAL = frozenset({0x80000023, 0x80000024, 0x80000025, 0x80000026})
_ELSEWHERE = {
    0x80000017: "Windows has compressed it (CompactOS, WOF), which is not read here",
    0x80000013: "Windows has deduplicated it: its data is in the chunk store of the volume",
    0x80000007: "its data is in the single instance store of the volume",
    0xC0000004: "its data was moved to another storage (HSM)",
    0x80000006: "its data was moved to another storage (HSM)",
}
_ENCRYPTED = "Windows has encrypted it (EFS), and its key is not known here"


def kind_of(file: Any, kind: Kind) -> Kind:
    """Given a file of pytsk3 and what it seems to be, return what it is."""
    found = _reparse_point(file)
    if found is None:
        return kind
    tag, data = found
    if tag & _NAME_SURROGATE or tag == _PROGRAM_ALIAS:
        return "link"
    if tag == _NFS:
        return "link" if data.startswith(_NFS_LINK) else "other"
    return "other" if tag in _SPECIAL else kind


def is_lost(file: Any) -> bool:
    """Whether the library could not make out where a file is, and calls it empty.

    As that of a damaged file, or of one with a hole that is larger than the file system.
    """
    meta = file.info.meta
    if meta.size or meta.type != pytsk3.TSK_FS_META_TYPE_REG:
        return False
    return not _unnamed_data(file)


def why_unreadable(file: Any) -> str | None:
    """Given a file of pytsk3, return why what is read of it would not be its content, or None."""
    unnamed = _unnamed_data(file)
    if any(int(each.info.flags) & int(pytsk3.TSK_FS_ATTR_ENC) for each in unnamed):
        return _ENCRYPTED
    found = _reparse_point(file)
    if found is None:
        return None
    tag, _ = found
    if tag & ~_CLOUD_KINDS == _CLOUD:
        # A file that was fetched stays one of the cloud's, with all of its data.
        here = not any(_has_hole(each) for each in unnamed)
        return None if here else "its data is in the cloud, not or not all on this disk"
    known = _ELSEWHERE.get(tag)
    return known or f"another program keeps its data (reparse tag 0x{tag:08X})"


def _unnamed_data(file: Any) -> list[Any]:
    """Return the attributes that are a file's content; others of their type have a name."""
    return [each for each in file if _type_of(each) == _DATA and not each.info.name]


def _type_of(attribute: Any) -> int:
    return int(attribute.info.type)


def _reparse_point(file: Any) -> tuple[int, bytes] | None:
    """Return the tag of a reparse point and the beginning of its data; None for what is none."""
    for attribute in file:
        if _type_of(attribute) == _REPARSE:
            try:
                content: bytes = file.read_random(
                    0, _HEAD.size + len(_NFS_LINK), _REPARSE, attribute.info.id
                )
                tag, _, _ = _HEAD.unpack_from(content)
            except (OSError, struct.error):
                return _UNKNOWN, b""
            return tag, content[_HEAD.size :]
    return None


def _has_hole(attribute: Any) -> bool:
    sparse = int(pytsk3.TSK_FS_ATTR_RUN_FLAG_SPARSE)
    return any(int(run.flags) & sparse for run in attribute)
