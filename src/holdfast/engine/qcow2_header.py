"""The header of a qcow2 file, read and written by ourselves.

qemu-img opens whatever file a header names, and a guest can write any header into its raw disk.
So the names are read here, where nothing is opened, and judged before qemu-img sees the file.
The format is QEMU's docs/interop/qcow2.txt; all numbers are big-endian.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"QFI\xfb"
CLUSTER_BITS = 16
"""Of the files that are made here: clusters of 64 KiB, as QEMU makes them."""
_WHOLE = struct.Struct(">4sIQIIQIIQQIIQQQQIIB7x")
_FIXED = struct.Struct(">4sIQIIQI")  # magic to crypt_method: the part both versions have
_VERSION_3_FIELDS = struct.Struct(">Q")  # incompatible_features, at byte 72
_VERSION_2_LENGTH = 72
_VERSION_3_LENGTH = 104
_HEADER_LENGTH_AT = 100
_EXTERNAL_DATA_FILE = 1 << 2
_COMPRESSION_TYPE = 1 << 3
_ZSTD = 1
_EXTENDED_TABLES = 1 << 4
_LUKS = 2
_REFCOUNT_ORDER = 4  # counts of 16 bits
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE2792ACA
_ENCRYPTION_HEADER = 0x0537BE77
_LONGEST_BACKING_NAME = 1023
HEADER_BYTES = 64 * 1024  # the header, its extensions and the name all lie in the first cluster


class NotQcow2Error(ValueError):
    """The bytes are not a qcow2 header, or a damaged one; the message says why."""


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """``virtual_size`` in bytes; the names and formats as they are written in the file.

    ``luks`` says whether it is LUKS that it is ``encrypted`` with, ``extended_tables`` whether the
    entries of its L2 tables are of 16 bytes. ``cluster_size`` is in bytes.
    """

    virtual_size: int
    backing_name: str | None
    backing_format: str | None
    encrypted: bool
    external_data_file: bool
    luks: bool = False
    extended_tables: bool = False
    cluster_size: int = 1 << CLUSTER_BITS


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a file that is made here has its tables, in bytes from its beginning.

    ``refcount_clusters`` is how many clusters the table of the blocks of counts has;
    ``encryption`` where the LUKS header lies, and its length.
    """

    virtual_size: int
    l1_at: int
    l1_entries: int
    refcounts_at: int
    refcount_clusters: int = 1
    encryption: tuple[int, int] | None = None


def made_header(layout: Layout, backing_name: str | None, *, zstd: bool = False) -> bytes:
    """Return the header of a qcow2, on another or on none, whose compressed clusters are zstd."""
    extensions = b""
    if layout.encryption is not None:
        extensions += _extension(_ENCRYPTION_HEADER, struct.pack(">QQ", *layout.encryption))
    name = b"" if backing_name is None else os.fsencode(backing_name)
    if len(name) > _LONGEST_BACKING_NAME:
        raise ValueError(f"The name {backing_name} is longer than {_LONGEST_BACKING_NAME} bytes.")
    if name:
        extensions += _extension(_BACKING_FORMAT, b"qcow2")
    extensions += _EXTENSION.pack(0, 0)
    fixed = _WHOLE.pack(
        MAGIC,
        3,
        _WHOLE.size + len(extensions) if name else 0,
        len(name),
        CLUSTER_BITS,
        layout.virtual_size,
        0 if layout.encryption is None else _LUKS,
        layout.l1_entries,
        layout.l1_at,
        layout.refcounts_at,
        layout.refcount_clusters,
        0,  # snapshots
        0,
        _COMPRESSION_TYPE if zstd else 0,
        0,  # compatible features
        0,  # features that may be cleared
        _REFCOUNT_ORDER,
        _WHOLE.size,
        _ZSTD if zstd else 0,
    )
    return fixed + extensions + name


def _extension(kind: int, content: bytes) -> bytes:
    return _EXTENSION.pack(kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")


def has_magic(start: bytes) -> bool:
    """Given the first bytes of a file, say whether it claims to be qcow2."""
    return start.startswith(MAGIC)


def read_header(path: Path) -> Qcow2Header:
    """Given a qcow2 file, return its header. Blocking; raise NotQcow2Error or OSError."""
    with path.open("rb") as file:
        return parse_header(file.read(HEADER_BYTES))


def parse_header(start: bytes) -> Qcow2Header:
    """Given the first 64 KiB of a qcow2 file, return its header; raise NotQcow2Error."""
    if not has_magic(start):
        raise NotQcow2Error("it does not begin with the qcow2 magic")
    if len(start) < _VERSION_2_LENGTH:
        raise NotQcow2Error("its header is cut off")
    _magic, version, name_at, name_length, cluster_bits, size, crypt_method = _FIXED.unpack_from(
        start
    )
    features = 0
    header_length = _VERSION_2_LENGTH
    if version == 3:
        if len(start) < _VERSION_3_LENGTH:
            raise NotQcow2Error("its header is cut off")
        (features,) = _VERSION_3_FIELDS.unpack_from(start, _VERSION_2_LENGTH)
        (header_length,) = struct.unpack_from(">I", start, _HEADER_LENGTH_AT)
    elif version != 2:
        raise NotQcow2Error(f"its version is {version}, not 2 or 3")
    if not 9 <= cluster_bits <= 21:
        raise NotQcow2Error(f"its cluster size of 2^{cluster_bits} bytes is not allowed")
    return Qcow2Header(
        virtual_size=size,
        backing_name=_backing_name(start, name_at, name_length),
        backing_format=_backing_format(start, header_length, name_at or len(start)),
        encrypted=crypt_method != 0,
        external_data_file=bool(features & _EXTERNAL_DATA_FILE),
        luks=crypt_method == _LUKS,
        extended_tables=bool(features & _EXTENDED_TABLES),
        cluster_size=1 << cluster_bits,
    )


def _backing_name(start: bytes, name_at: int, name_length: int) -> str | None:
    if name_at == 0:
        return None
    if name_length > _LONGEST_BACKING_NAME or name_at + name_length > len(start):
        raise NotQcow2Error("its backing file name lies outside the header")
    return os.fsdecode(start[name_at : name_at + name_length])


def _backing_format(start: bytes, position: int, end: int) -> str | None:
    """Walk the header extensions, (type, length, data padded to 8 bytes), up to type 0."""
    while position + _EXTENSION.size <= min(end, len(start)):
        kind, length = _EXTENSION.unpack_from(start, position)
        position += _EXTENSION.size
        if kind == 0:
            return None
        if kind == _BACKING_FORMAT:
            return start[position : position + length].decode(errors="replace")
        position += (length + 7) & ~7
    return None
