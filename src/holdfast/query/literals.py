"""From the text of a filter value to the value that a column is compared with."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction

from holdfast.query.expression import Literal, Operator
from holdfast.schema.naming import guid_of
from holdfast.schema.types import (
    Boolean,
    DateTime,
    Enumeration,
    Guid,
    HierarchyRef,
    Href,
    Integer,
    Real,
    Scalar,
    String,
    Uid,
)

_NUMBER = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?")
_MOMENT = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<zone>Z|[+-]\d\d:?\d\d)?)?",
    re.IGNORECASE | re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER_LIMIT = 1 << 63
_NO_WHOLE_NUMBER = 0.5


def fold(text: str) -> str:
    """Given text, return the form in which text is compared: without case, by code point.

    For example ``Büro`` and ``BÜRO`` have the same form.
    """
    return text.casefold()


def comparable(field_type: Scalar, operator: Operator, text: str) -> tuple[Operator, Literal]:
    """Given a field's type, an operator and the text of a value, return what to compare with, how.

    The result holds for just the stored values for which the exact value would: ``> 2.5`` of whole
    numbers is ``> 2``.

    Raises ValueError whose message says what was expected.
    """
    match field_type:
        case String() | HierarchyRef():
            return operator, fold(text)
        case Uid() | Guid():
            return operator, guid_of(text)
        case Boolean():
            return operator, _boolean(text)
        case Enumeration():
            return operator, field_type.index(text.strip())
        case DateTime():
            return _whole(operator, _moment(text))
        case Integer():
            return _whole(operator, _number(text))
        case Real():
            return operator, _to_float(_number(text))
        case Href():
            raise ValueError("an address cannot be compared")


def _boolean(text: str) -> int:
    try:
        return {"true": 1, "false": 0}[text.strip().lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def _number(text: str) -> Fraction:
    stripped = text.strip()
    if not stripped.isascii() or not _NUMBER.fullmatch(stripped):
        raise ValueError("expected a number")
    return Fraction(stripped)


def _whole(operator: Operator, value: Fraction) -> tuple[Operator, Literal]:
    if not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return operator, float("inf") if value > 0 else float("-inf")
    below = value.numerator // value.denominator
    if below == value:
        return operator, below
    match operator:
        case Operator.EQUAL | Operator.NOT_EQUAL:
            return operator, _NO_WHOLE_NUMBER
        case Operator.GREATER | Operator.GREATER_OR_EQUAL:
            return Operator.GREATER, below
        case Operator.LESS | Operator.LESS_OR_EQUAL:
            return Operator.LESS_OR_EQUAL, below


def _to_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _moment(text: str) -> Fraction:
    """Milliseconds since 1970 UTC."""
    found = _MOMENT.fullmatch(text.strip())
    expected = "expected a UTC date and time such as 2025-08-15T06:00:00Z, or a date"
    if found is None:
        raise ValueError(expected)
    parts = {name: value or "0" for name, value in found.groupdict().items()}
    try:
        year, month, day, hour, minute, second = (
            int(parts[name]) for name in ("year", "month", "day", "hour", "minute", "second")
        )
        whole = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{expected} ({error})") from None
    since = whole - _EPOCH
    milliseconds = Fraction((since.days * 86_400 + since.seconds) * 1000)
    if fraction := found["fraction"]:
        milliseconds += Fraction(int(fraction), 10 ** len(fraction)) * 1000
    return milliseconds - _offset(found["zone"])


def _offset(zone: str | None) -> int:
    """Given a zone such as ``+02:00``, return its offset from UTC in milliseconds."""
    if zone is None or zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 14 or minutes > 59:
        raise ValueError("expected an offset from UTC of at most 14 hours")
    return (-1 if zone[0] == "-" else 1) * (hours * 60 + minutes) * 60_000
