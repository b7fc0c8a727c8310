"""Values on their way into columns and out of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from holdfast.schema import types

_JSON = msgspec.json.Encoder()

#: The moments that can be written as a date: the years 1 to 9999.
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999


def guid_text(stored: bytes) -> str:
    """Given the sixteen bytes of a UID, return the GUID in text."""
    digits = stored.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def guid_bytes(text: str) -> bytes:
    """Given a GUID in text, return its sixteen bytes; ValueError if it is none."""
    return UUID(text).bytes


def encoder(value_type: types.Type, *, repeated: bool = False) -> Callable[[Any], Any]:
    """Given a type, return the function from a value (never None) to what its column stores.

    The function raises ValueError or TypeError for a value that is not of the type, or that its
    column cannot hold.
    """
    if repeated or isinstance(value_type, types.Structure):
        return lambda value: _JSON.encode(_fitting(value, value_type, repeated)).decode()
    match value_type:
        case types.Uid() | types.Guid():
            return lambda value: guid_bytes(_checked(value, str))
        case types.Boolean():
            return lambda value: int(_checked(value, bool))
        case types.Enumeration():
            return lambda value: value_type.index(_checked(value, str))
        case types.DateTime():
            return lambda value: _within(_checked(value, int), _EARLIEST, _LATEST)
        case types.Integer():
            return lambda value: _within(_checked(value, int), -(1 << 63), (1 << 63) - 1)
        case types.Real():
            return lambda value: float(_checked(value, int, float))
        case _:
            return lambda value: _checked(value, str)


def decoder(value_type: types.Type, *, repeated: bool = False) -> Callable[[Any], Any] | None:
    """Given a type, return the function from what its column stores to a value; None: as it is."""
    if repeated or isinstance(value_type, types.Structure):
        return msgspec.json.decode
    match value_type:
        case types.Uid() | types.Guid():
            return guid_text
        case types.Boolean():
            return bool
        case types.Enumeration():
            names = {index: value_type.name_of(index) for index in range(len(value_type.values))}
            if value_type.undecided:
                names[types.Enumeration.UNDECIDED_INDEX] = types.Enumeration.UNDECIDED_NAME
            return names.__getitem__
        case _:
            return None


def _fitting(value: Any, value_type: types.Type, repeated: bool) -> Any:
    """Return a structure's value; TypeError or ValueError if any part is not of its type."""
    if repeated:
        return [_fitting(item, value_type, False) for item in _checked(value, list)]
    if not isinstance(value_type, types.Structure):
        encoder(value_type)(value)
        return value
    parts = {part.name: part for part in (*value_type.children, *value_type.attributes)}
    for name, inner in _checked(value, dict).items():
        if inner is None:
            continue
        if name in parts:
            _fitting(inner, parts[name].type, parts[name].repeated)
        elif name == value_type.text:
            _checked(inner, str)
        else:
            raise ValueError(f"there is no part {name}")
    return value


def _within(value: int, least: int, greatest: int) -> int:
    if not least <= value <= greatest:
        raise ValueError(f"expected a number from {least} to {greatest}")
    return value


def _checked(value: Any, *expected: type) -> Any:
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        raise TypeError(f"expected {expected[0].__name__}, not {type(value).__name__}")
    return value
