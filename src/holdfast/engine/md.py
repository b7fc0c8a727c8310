"""Linux's software RAID (md): which of its members can be read alone. Runs in the reader's process.

A member of a mirror holds all there is; when it is not known to be behind the others, it is read,
without what md itself keeps on it. Stripes are not put together. The facts are those of Linux's
include/uapi/linux/raid/md_p.h; numbers are little-endian, and in sectors.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.engine.disk import Disk, Window
from holdfast.engine.file_system import Unreadable

_SECTOR = 512
_MAGIC = 0xA92B4EFC
_HEAD = struct.Struct("<III")
# Of version 1: the array's UUID; level, chunk and so on; where the data are; the role's number in
# the table of them; how often it changed, and from where on the mirrors may differ.
_LEVEL_1 = struct.Struct("<iIQII")
_LEVEL_1_AT, _DATA_AT, _NUMBER_AT, _EVENTS_AT, _ROLES_AT = 72, 128, 160, 200, 256
_DATA = struct.Struct("<QQQ")
_EVENTS = struct.Struct("<QQII")
_REBUILDING, _RESHAPING = 0x2, 0x4
_IN_STEP = (1 << 64) - 1
_LAST_ROLE = 0xFFF0
_MOST_MEMBERS = 1920
_SIZE_1 = _ROLES_AT + 2 * _MOST_MEMBERS
# Of version 0.90.
_SIZE_0 = 4096
_PLACE_0 = 64 * 1024
_MEMBERS_0, _OWN_0, _MEMBER_0 = 512, 3968, struct.Struct("<IIIII")
_LEVEL_0_AT, _STATE_0_AT, _EVENTS_0_AT = 28, 132, 156
_MOST_MEMBERS_0 = 27
_CLEAN_0, _ACTIVE_0 = 0x1, 0x6

_LEVELS = {-4: "multipath", -1: "linear", 0: "RAID0", 1: "RAID1", 10: "RAID10"}
_MIRROR = 1


@dataclass(frozen=True)
class _Member:
    """What a place says about the array that it is a member of. ``data`` without md's own."""

    place: Disk
    array: bytes
    level: int
    events: int
    is_clean: bool  # or else a write may have reached some members only
    role: int | None  # None for a spare one, one that failed, or one not yet rebuilt
    roles: Sequence[int]  # of all that md has in use
    data: Window

    def refusal(self) -> str | None:
        """Return why it cannot be read alone; None when it can."""
        if self.level != _MIRROR:
            level = _LEVELS.get(self.level, f"RAID{self.level}")
            return f"It is a member of an md array of kind {level}; only mirrors (RAID1) are read."
        if self.role is None:
            return "It is a member of an md mirror (RAID1) that was not in use or not rebuilt yet."
        if not self.is_clean and self.role != min(self.roles, default=self.role):
            # Linux itself takes the first member for right, and writes it over the others.
            return (
                "It is a member of an md mirror (RAID1) that was not in step with the first one, "
                "which is not among these disks."
            )
        return None


def members_resolved(
    places: Sequence[Disk],
) -> tuple[list[Disk], list[tuple[Unreadable, list[Disk]]], dict[int, list[Disk]]]:
    """Given the places on all disks, return those to look into; of arrays what cannot be read, with
    its places; and by the identity of what replaces places, these. Raise OSError.
    """
    kept: list[Disk] = []
    arrays: dict[bytes, list[_Member]] = {}
    for place in places:
        if (member := _member(place)) is None:
            kept.append(place)
        else:
            arrays.setdefault(member.array, []).append(member)
    unread: list[tuple[Unreadable, list[Disk]]] = []
    replaced: dict[int, list[Disk]] = {}
    for members in arrays.values():
        newest = max(member.events for member in members)
        current = [member for member in members if member.events >= newest - 1]
        usable = sorted(
            (member for member in current if member.refusal() is None),
            key=lambda member: (-member.events, member.role or 0),
        )
        if usable:
            kept.append(usable[0].data)
            replaced[id(usable[0].data)] = [member.place for member in members]
        else:
            reason = current[0].refusal() or ""
            unread.append((Unreadable(reason, "md RAID"), [member.place for member in members]))
    return kept, unread, replaced


def is_member(place: Disk) -> bool:
    """Whether a place belongs to an md array. Raise OSError."""
    return _member(place) is not None


def _member(place: Disk) -> _Member | None:
    sectors = place.size // _SECTOR
    at_end = (sectors - 16) // 8 * 8 * _SECTOR
    for offset in (4096, 0, at_end):
        raw = place.read(offset, _SIZE_1) if offset >= 0 else b""
        if (found := _version_1(place, raw, offset)) is not None:
            return found
    offset = place.size // _PLACE_0 * _PLACE_0 - _PLACE_0
    return _version_0(place, place.read(offset, _SIZE_0), offset) if offset > 0 else None


def _version_1(place: Disk, raw: bytes, offset: int) -> _Member | None:
    if len(raw) < _ROLES_AT:
        return None
    magic, version, features = _HEAD.unpack_from(raw)
    level, _, _, _, count = _LEVEL_1.unpack_from(raw, _LEVEL_1_AT)
    start, size, own_place = _DATA.unpack_from(raw, _DATA_AT)
    (number,) = struct.unpack_from("<I", raw, _NUMBER_AT)
    events, in_step, _, most = _EVENTS.unpack_from(raw, _EVENTS_AT)
    if (magic, version, own_place) != (_MAGIC, 1, offset // _SECTOR) or most > _MOST_MEMBERS:
        return None
    length = min(most, (len(raw) - _ROLES_AT) // 2)
    roles = struct.unpack_from(f"<{length}H", raw, _ROLES_AT)
    used = [role for role in roles if role < _LAST_ROLE]
    role = roles[number] if number < length else _LAST_ROLE
    is_whole = role < _LAST_ROLE and not features & (_REBUILDING | _RESHAPING)
    return _Member(
        place=place,
        array=raw[16:32],
        level=level,
        events=events,
        is_clean=in_step == _IN_STEP,
        role=role if is_whole and count else None,
        roles=used,
        # A place that was cut has no more than is left.
        data=Window(
            place, start * _SECTOR, max(0, min(size * _SECTOR, place.size - start * _SECTOR))
        ),
    )


def _version_0(place: Disk, raw: bytes, offset: int) -> _Member | None:
    if len(raw) < _SIZE_0 or _HEAD.unpack_from(raw)[:2] != (_MAGIC, 0):
        return None
    level, size = struct.unpack_from("<iI", raw, _LEVEL_0_AT)
    if size * 1024 > offset:
        return None  # it was made for a larger place
    (state,) = struct.unpack_from("<I", raw, _STATE_0_AT)
    (events,) = struct.unpack_from("<Q", raw, _EVENTS_0_AT)
    roles = []
    for number in range(_MOST_MEMBERS_0):
        *_, role, used = _MEMBER_0.unpack_from(raw, _MEMBERS_0 + number * 128)
        if used & _ACTIVE_0 == _ACTIVE_0:
            roles.append(role)
    *_, role, used = _MEMBER_0.unpack_from(raw, _OWN_0)
    return _Member(
        place=place,
        array=raw[20:24] + raw[52:64],
        level=level,
        events=events,
        is_clean=bool(state & _CLEAN_0),
        role=role if used & _ACTIVE_0 == _ACTIVE_0 else None,
        roles=roles,
        data=Window(place, 0, (size if level == _MIRROR else offset // 1024) * 1024),
    )
