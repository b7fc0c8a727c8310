"""LVM2: the logical volumes that lie wholly on the disks at hand, linear and striped ones.

The facts are those of LVM2's lib/format_text: layout.h for label, physical volume and metadata area
(all numbers little-endian), export.c for the text. Snapshots, thin and cached
volumes, mirrors and RAID are not read. Runs in the reader's process; all functions block.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.engine.disk import DamagedError, Disk, read_whole
from holdfast.engine.lvm_text import Section, Value, parse

_SECTOR = 512
_LABEL_SECTORS = 4
_LABEL = struct.Struct("<8sQII8s")
_PHYSICAL = struct.Struct("<32sQ")
_PLACE = struct.Struct("<QQ")
_AREA = struct.Struct("<I16sIQQ")
_TEXT_PLACE = struct.Struct("<QQII")
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_FIRST_CHECKSUM = 0xF597A6CF
_IGNORED = 1
_LONGEST_TEXT = 2 * 1024 * 1024
_MOST_AREAS = 16
_MOST_VOLUMES = 128
_SAME_IDENTITY = (
    "It is a physical volume of LVM with the UUID of another one of these disks, which is read in "
    "its place."
)
_NOT_NAMED = (
    "It is a physical volume of LVM that no valid metadata on these disks name: its volume group "
    "is not known here, or has removed it."
)


@dataclass(frozen=True)
class _Segment:
    """A part of a logical volume. All numbers are bytes."""

    start: int
    size: int
    stripes: list[tuple[Disk, int]]  # each with the offset it begins at
    stripe_size: int

    def piece(self, inside: int, length: int) -> bytes:
        """Return bytes of the segment, no more than lie in a row."""
        length = min(length, self.size - inside)
        row, within = divmod(inside, self.stripe_size)
        length = min(length, self.stripe_size - within)
        row, number = divmod(row, len(self.stripes))
        disk, offset = self.stripes[number]
        return read_whole(disk, offset + row * self.stripe_size + within, length)


class LogicalVolume:
    """A `holdfast.engine.disk.Disk` put together from parts of others."""

    def __init__(self, segments: list[_Segment]) -> None:
        self._segments = segments
        self._starts = [segment.start for segment in segments]
        self.size = segments[-1].start + segments[-1].size

    @property
    def disks(self) -> list[Disk]:
        """The physical volumes that it lies on; one may be named more than once."""
        return [disk for segment in self._segments for disk, _ in segment.stripes]

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset; fewer at the end. Raise OSError."""
        end = min(offset + length, self.size)
        if not 0 <= offset < end:
            return b""
        found = bytearray()
        while offset < end:
            segment = self._segments[bisect_right(self._starts, offset) - 1]
            piece = segment.piece(offset - segment.start, end - offset)
            found += piece
            offset += len(piece)
        return bytes(found)


@dataclass(frozen=True)
class LostVolume:
    """What is known to be in LVM and cannot be read, with the physical volumes of its group."""

    reason: str
    disks: list[Disk]


def logical_volumes(disks: list[Disk]) -> tuple[list[LogicalVolume], list[LostVolume]]:
    """Given the partitions of all disks, return the logical volumes that lie wholly on them, and
    what else there is of LVM.
    """
    physical: dict[str, Disk] = {}
    areas: list[tuple[Disk, int, int]] = []
    lost: list[LostVolume] = []
    for disk in disks:
        try:
            identity, places = _physical_volume(disk)
        except OSError:
            continue
        if physical.setdefault(identity, disk) is disk:
            areas += [(disk, *place) for place in places]
        else:
            lost.append(LostVolume(_SAME_IDENTITY, [disk]))
    newest: dict[str, tuple[int, _Group]] = {}
    damaged: dict[int, LostVolume] = {}
    described: set[int] = set()
    for area in areas:
        try:
            if (text := _text(*area)) is None:
                continue
            if not text:
                described.add(id(area[0]))  # as one of no group, with nothing in it
                continue
            section = _group(parse(text))
            identity, number = _string(section, "id"), _number(section, "seqno")
            if number > newest.get(identity, (-1, None))[0]:
                newest[identity] = number, _volumes(section, physical, area[0])
        except OSError as error:
            damaged[id(area[0])] = LostVolume(str(error), [area[0]])
    groups = [group for _, group in newest.values()]
    # What one area has lost, another may know.
    described |= {id(disk) for group in groups for disk in group.disks}
    lost += [
        damaged.get(id(disk)) or LostVolume(_NOT_NAMED, [disk])
        for disk in physical.values()
        if id(disk) not in described
    ]
    found = [volume for group in groups for volume in group.volumes]
    lost += [volume for group in groups for volume in group.lost]
    return found[:_MOST_VOLUMES], lost[:_MOST_VOLUMES]


@dataclass(frozen=True)
class _Group:
    """A volume group: its physical volumes that are at hand, and what is in it."""

    disks: list[Disk]
    volumes: list[LogicalVolume]
    lost: list[LostVolume]


def is_physical_volume(disk: Disk) -> bool:
    """Whether a partition is a part of a volume group."""
    try:
        _physical_volume(disk)
    except OSError:
        return False
    return True


def _physical_volume(disk: Disk) -> tuple[str, list[tuple[int, int]]]:
    """Return the identity of a physical volume, and where its metadata areas are."""
    raw = disk.read(0, _LABEL_SECTORS * _SECTOR)
    for start in range(0, len(raw) - _SECTOR + 1, _SECTOR):
        sector = raw[start : start + _SECTOR]
        magic, _, checksum, offset, kind = _LABEL.unpack_from(sector)
        if (magic, kind) != (b"LABELONE", b"LVM2 001"):
            continue
        if checksum != _checksum(sector[20:]) or offset + _PHYSICAL.size > _SECTOR:
            continue
        identity, _ = _PHYSICAL.unpack_from(sector, offset)
        places = sector[offset + _PHYSICAL.size :]
        _, at = _places(places, 0)  # where the data are: the text says that better
        areas, _ = _places(places, at)
        return identity.decode("ascii", "replace"), areas
    raise DamagedError("There is no physical volume of LVM.")


def _places(raw: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """Return a list of offsets and sizes that ends with zeros, and where it ends."""
    found: list[tuple[int, int]] = []
    while at + _PLACE.size <= len(raw) and len(found) < _MOST_AREAS:
        offset, size = _PLACE.unpack_from(raw, at)
        at += _PLACE.size
        if not offset:
            break
        found.append((offset, size))
    return found, at


def _text(disk: Disk, start: int, size: int) -> str | None:
    """Given a metadata area, return the text that is valid in it, which is empty while there is no
    volume group; None for an area that LVM does not use.
    """
    head = read_whole(disk, start, _SECTOR)
    checksum, magic, version, own_start, own_size = _AREA.unpack_from(head)
    if magic != _AREA_MAGIC or version != 1 or checksum != _checksum(head[4:]):
        raise DamagedError("The head of the metadata of LVM is damaged.")
    offset, length, checksum, flags = _TEXT_PLACE.unpack_from(head, _AREA.size)
    if flags & _IGNORED:
        return None
    if not (offset or length):
        return ""
    fits = _SECTOR <= offset < size and 0 < length <= min(size - _SECTOR, _LONGEST_TEXT)
    if (own_start, own_size) != (start, size) or not fits:
        raise DamagedError("The metadata of LVM are damaged.")
    # The area is used in a circle, and its head is not part of that.
    first = min(length, size - offset)
    raw = read_whole(disk, start + offset, first)
    if length > first:
        raw += read_whole(disk, start + _SECTOR, length - first)
    if _checksum(raw) != checksum:
        raise DamagedError("The metadata of LVM are damaged.")
    return raw.rstrip(b"\0").decode("utf-8", "replace")


def _checksum(raw: bytes) -> int:
    """LVM's checksum: CRC-32 that begins with a number of its own and is not inverted."""
    return zlib.crc32(raw, _FIRST_CHECKSUM ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _volumes(group: Section, physical: dict[str, Disk], described_on: Disk) -> _Group:
    extent = _number(group, "extent_size") * _SECTOR
    known = {}
    for name, value in _section(group, "physical_volumes").items():
        described = _of_section(value)
        disk = physical.get(_string(described, "id").replace("-", ""))
        if disk is not None:
            known[name] = disk, _number(described, "pe_start") * _SECTOR
    found = _Group([disk for disk, _ in known.values()], [], [])
    if not extent:
        raise DamagedError("The metadata of LVM are damaged.")
    if "logical_volumes" not in group:
        return found
    for name, value in list(_section(group, "logical_volumes").items())[:_MOST_VOLUMES]:
        try:
            described = _of_section(value)
            status = described.get("status")
            if isinstance(status, list) and "VISIBLE" in status:
                found.volumes.append(LogicalVolume(list(_segments(described, extent, known))))
        except DamagedError as error:
            reason = f"Logical volume {name}: {error}"
            found.lost.append(LostVolume(reason, found.disks or [described_on]))
    return found


def _segments(
    volume: Section, extent: int, known: dict[str, tuple[Disk, int]]
) -> Iterator[_Segment]:
    """Return the segments of a logical volume, in order and without gaps."""
    reached = 0
    for number in range(1, _number(volume, "segment_count") + 1):
        described = _section(volume, f"segment{number}")
        kind = _string(described, "type")
        if kind not in ("striped", "linear"):
            raise DamagedError(f"Holdfast does not read segments of kind {kind}.")
        stripes = _stripes(described, extent, known)
        size = _number(described, "extent_count") * extent
        share, rest = divmod(size, len(stripes))
        step = size if len(stripes) == 1 else _number(described, "stripe_size") * _SECTOR
        is_next = _number(described, "start_extent") * extent == reached
        if not is_next or not size or rest or not step or share % step:
            raise DamagedError("The segments of a logical volume do not fit.")
        if any(offset + share > disk.size for disk, offset in stripes):
            raise DamagedError("A logical volume is longer than its disk.")
        yield _Segment(reached, size, stripes, step)
        reached += size
    if not reached:
        raise DamagedError("A logical volume has no segments.")


def _stripes(
    segment: Section, extent: int, known: dict[str, tuple[Disk, int]]
) -> list[tuple[Disk, int]]:
    listed = segment.get("stripes")
    count = _number(segment, "stripe_count")
    if not isinstance(listed, list) or not count or len(listed) != 2 * count:
        raise DamagedError("A segment of LVM has no stripes.")
    found = []
    for name, first in zip(listed[::2], listed[1::2], strict=True):
        if name not in known or not isinstance(first, int) or first < 0:
            raise DamagedError("A logical volume is not wholly on these disks.")
        disk, start = known[str(name)]
        found.append((disk, start + first * extent))
    return found


def _group(text: Section) -> Section:
    """Return the volume group that the text describes: its only section."""
    for value in text.values():
        if isinstance(value, dict):
            return value
    raise DamagedError("The metadata of LVM describe no volume group.")


def _of_section(value: Value | None) -> Section:
    if not isinstance(value, dict):
        raise DamagedError("A section is missing in the metadata of LVM.")
    return value


def _section(section: Section, name: str) -> Section:
    return _of_section(section.get(name))


def _number(section: Section, name: str) -> int:
    value = section.get(name)
    if not isinstance(value, int) or value < 0:
        raise DamagedError(f"There is no {name} in the metadata of LVM.")
    return value


def _string(section: Section, name: str) -> str:
    value = section.get(name)
    if not isinstance(value, str):
        raise DamagedError(f"There is no {name} in the metadata of LVM.")
    return value
