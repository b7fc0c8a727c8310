"""Filters as trees of our own: how they are drawn, written down, and what they mean.

Nothing here is taken from the product. The meaning is worked out in exact numbers (`Fraction`)
by the plainest code that can be written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from query.catalog_rows import (
    FILE_TYPES,
    INTEGERS,
    JOB_TYPES,
    MOMENTS,
    PLATFORMS,
    REALS,
    RESULTS,
    TASK_OF_LOGON_STATES,
    TASK_STATES,
    TEXTS,
    PlainRow,
)

OPERATORS = ("==", "!=", ">=", "<=", ">", "<")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class KnownField:
    """A field: the names it answers to (the first is that of the row's value) and its kind.

    `values` are the values of an enumeration, lowest first.
    """

    names: tuple[str, ...]
    kind: str
    values: tuple[str, ...] = ()
    entity: str = ""


def _uid(name: str, entity: str) -> KnownField:
    return KnownField((name,), "uid", entity=entity)


def _text(*names: str) -> list[KnownField]:
    return [KnownField((name,), "text") for name in names]


_SERVER = [_uid("BackupServerUid", "BackupServer"), *_text("BackupServerName")]

FIELDS: dict[str, list[KnownField]] = {
    "BackupTaskSession": [
        _uid("UID", "BackupTaskSession"),
        *_text("Name", "VmDisplayName", "Reason", "VmUid", "JobName"),
        _uid("JobSessionUid", "BackupJobSession"),
        _uid("JobUid", "Job"),
        KnownField(("CreationTimeUTC", "CreationTime"), "moment"),
        KnownField(("EndTimeUTC", "EndTime"), "moment"),
        KnownField(("State",), "enumeration", TASK_STATES),
        KnownField(("Result",), "enumeration", RESULTS),
        KnownField(("TotalSize",), "integer"),
        *_SERVER,
    ],
    "BackupFile": [
        _uid("UID", "BackupFile"),
        *_text("Name", "FilePath", "BackupName"),
        KnownField(("BackupSize",), "integer"),
        KnownField(("DataSize",), "integer"),
        KnownField(("DeduplicationRatio",), "real"),
        KnownField(("CompressRatio",), "real"),
        KnownField(("CreationTimeUtc", "CreationTime"), "moment"),
        KnownField(("FileType",), "enumeration", FILE_TYPES),
        _uid("BackupUid", "Backup"),
        *_SERVER,
    ],
    "Job": [
        _uid("UID", "Job"),
        *_text("Name", "Description"),
        KnownField(("JobType",), "enumeration", JOB_TYPES),
        KnownField(("Platform",), "enumeration", PLATFORMS),
        KnownField(("ScheduleConfigured",), "boolean"),
        KnownField(("ScheduleEnabled",), "boolean"),
        KnownField(("NextRun",), "moment"),
        *_SERVER,
    ],
}

#: Sorted only: a task is known by its number.
TASK_FIELDS = [
    KnownField(("TaskId",), "task"),
    KnownField(("State",), "enumeration", TASK_OF_LOGON_STATES),
    *_text("Operation"),
]


@dataclass(frozen=True)
class Test:
    """One comparison. `value` is exact: a Fraction, a text, a UUID, a bool, an index."""

    __test__ = False
    field: KnownField
    operator: str
    value: Any


@dataclass(frozen=True)
class Both:
    """Every part holds."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Either:
    """One part at least holds."""

    parts: tuple[Any, ...]


# What a filter means ---------------------------------------------------------------------------


def comparable(field: KnownField, value: Any) -> Any:
    """Given a row's value, return what it is compared by; None when it is missing."""
    if value is None:
        return None
    match field.kind:
        case "text":
            return value.casefold()
        case "uid":
            return value.bytes
        case "enumeration":
            return field.values.index(value)
        case "task":
            return int(value.removeprefix("task-"))
        case "integer" | "moment":
            return Fraction(value)
        case _:
            return value


def literal(field: KnownField, value: Any) -> Any:
    """Given a filter's exact value, return what a row's value is compared with."""
    match field.kind:
        case "text":
            return value.casefold()
        case "uid":
            return value.bytes
        case "real":
            # The nearest number that the field can hold.
            return float(value) if abs(value) < 10**300 else math.inf * (1 if value > 0 else -1)
        case _:
            return value


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


def holds(tree: Any, row: PlainRow) -> bool:
    """Say whether a row meets a filter."""
    if isinstance(tree, Both):
        return all(holds(part, row) for part in tree.parts)
    if isinstance(tree, Either):
        return any(holds(part, row) for part in tree.parts)
    has = comparable(tree.field, row.values.get(tree.field.names[0]))
    if has is None:
        return tree.operator == "!="
    return _HOLDS[tree.operator](has, literal(tree.field, tree.value))


def in_order(rows: list[PlainRow], field: KnownField, *, descending: bool) -> list[UUID]:
    """Given rows, return their UIDs sorted: missing lowest, ties by UID in the same direction."""

    def key(row: PlainRow) -> tuple[bool, Any, bytes]:
        value = comparable(field, row.values.get(field.names[0]))
        return (value is not None, 0 if value is None else value, row.uid.bytes)

    return [row.uid for row in sorted(rows, key=key, reverse=descending)]


# How filters are drawn -------------------------------------------------------------------------

_HUGE = (10**18, 2**53, 2**63, 2**64, 10**30, 10**390)


def _numbers(known: tuple[int, ...]) -> st.SearchStrategy[Fraction]:
    near = st.tuples(
        st.sampled_from(known),
        st.sampled_from(
            [Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-1, 1000)]
        ),
    ).map(sum)
    huge = st.sampled_from([Fraction(sign * n) for n in _HUGE for sign in (1, -1)])
    return st.one_of(st.sampled_from(known).map(Fraction), near, huge)


_MOMENT_PARTS = st.sampled_from(
    [
        Fraction(0),
        Fraction(1),
        Fraction(-1),
        Fraction(1, 2),
        Fraction(1, 10**6),
        Fraction(86_400_000),
    ]
)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.one_of(
        st.sampled_from(TEXTS),
        st.sampled_from(TEXTS),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
    ),
    "integer": _numbers(INTEGERS),
    "real": st.one_of(
        st.sampled_from(REALS).map(lambda real: Fraction(repr(real))),
        st.sampled_from(REALS).map(lambda real: Fraction(repr(real)) + Fraction(1, 1000)),
        _numbers((0, 1, 2)),
    ),
    "moment": st.one_of(
        st.sampled_from(MOMENTS).map(Fraction),
        st.tuples(st.sampled_from(MOMENTS), _MOMENT_PARTS).map(sum),
    ),
    "boolean": st.booleans(),
}


@st.composite
def _tests(draw: st.DrawFn, fields: list[KnownField], uids: list[UUID]) -> Test:
    field = draw(st.sampled_from(fields))
    operator = draw(st.sampled_from(OPERATORS))
    if field.kind == "enumeration":
        return Test(field, operator, draw(st.integers(0, len(field.values) - 1)))
    if field.kind == "uid":
        return Test(field, operator, draw(st.sampled_from(uids)))
    return Test(field, operator, draw(_VALUES[field.kind]))


def trees(resource: str, rows: list[PlainRow]) -> st.SearchStrategy[Any]:
    """Given a type and its rows, return filters about them, up to about five levels deep."""
    fields = FIELDS[resource]
    uids = sorted(
        {
            value
            for row in rows
            for field in fields
            if field.kind == "uid" and (value := row.values.get(field.names[0])) is not None
        }
    )
    parts = st.lists
    return st.recursive(
        _tests(fields, uids),
        lambda inner: st.one_of(
            parts(inner, min_size=2, max_size=3).map(lambda p: Both(tuple(p))),
            parts(inner, min_size=2, max_size=3).map(lambda p: Either(tuple(p))),
        ),
        max_leaves=8,
    )


# How filters are written -----------------------------------------------------------------------


class Writer:
    """Writes filters down, in one of the many ways there are for each; `random` chooses."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def write(self, tree: Any) -> str:
        """Given a filter, return its text."""
        return self._space() + self._whole(tree)

    def _whole(self, tree: Any) -> str:
        if isinstance(tree, Test):
            return self._wrapped(self._test(tree), 0.1)
        separator = ";" if isinstance(tree, Both) else ","
        written = [self._part(tree, part) for part in tree.parts]
        joined = written[0] + "".join(
            self._space() + separator + self._space() + w for w in written[1:]
        )
        return self._wrapped(joined, 0.1)

    def _part(self, around: Any, part: Any) -> str:
        written = self._whole(part)
        if isinstance(around, Both) and isinstance(part, Either):
            return f"({self._space()}{written}{self._space()})"
        # AND inside OR needs no parentheses, nor does a part of the same kind.
        return self._wrapped(written, 0.3 if not isinstance(part, Test) else 0.05)

    def _wrapped(self, text: str, likely: float) -> str:
        while self._random.random() < likely:
            text = f"({self._space()}{text}{self._space()})"
        return text

    def _space(self) -> str:
        return self._random.choice(("", "", "", "", " ", "  ", "\t"))

    def _cased(self, text: str) -> str:
        if self._random.random() < 0.6:
            return text
        return "".join(self._random.choice((c.lower(), c.upper())) for c in text)

    def _test(self, test: Test) -> str:
        name = self._cased(self._random.choice(test.field.names))
        value = self._quoted_or_bare(self._value(test))
        return f"{name}{self._space()}{test.operator}{self._space()}{value}"

    def _quoted_or_bare(self, text: str) -> str:
        can_be_bare = text and text == text.strip() and not re.search(r'[;,)]|^"', text)
        # After an operator, a sign that could belong to it must be quoted.
        if can_be_bare and text[0] not in "=<>!" and self._random.random() < 0.6:
            return text
        if re.fullmatch(r'"[^"]+"', text) and self._random.random() < 0.5:
            return f'"{text}"'  # the documented way to write a name that is itself quoted
        doubled = text.replace('"', '""')
        return f'"{doubled}"'

    def _value(self, test: Test) -> str:
        field, value = test.field, test.value
        match field.kind:
            case "text":
                return str(value)
            case "enumeration":
                return self._cased(field.values[value])
            case "boolean":
                return self._cased("true" if value else "false")
            case "uid":
                guid = self._cased(str(value))
                return guid if self._random.random() < 0.5 else f"urn:veeam:{field.entity}:{guid}"
            case "moment":
                return self._moment(value)
            case _:
                return self._number(value)

    def _number(self, value: Fraction) -> str:
        """Every number drawn is a decimal with few places: write it exactly."""
        sign, value = ("-" if value < 0 else self._random.choice(("", "", "+"))), abs(value)
        whole = value.numerator // value.denominator
        rest, digits = value - whole, ""
        while rest:
            rest *= 10
            digit = rest.numerator // rest.denominator
            digits += str(digit)
            rest -= digit
        zeros = self._random.choice(("", "", "0"))
        fraction = f".{digits}{zeros}" if digits else self._random.choice(("", "", ".0", ".000"))
        return f"{sign}{zeros}{whole}{fraction}"

    def _moment(self, value: Fraction) -> str:
        seconds, fraction = divmod(value, 1000)
        nanoseconds = fraction * 1_000_000
        assert nanoseconds.denominator == 1
        digits = f"{nanoseconds.numerator:09d}".rstrip("0")
        digits += (
            "0" * self._random.randint(0, 9 - len(digits)) if self._random.random() < 0.3 else ""
        )
        random = self._random
        offset = random.choice(
            (None, 0, 0, 0, random.choice((120, -330, 840)) if seconds > 0 else 0)
        )
        moment = EPOCH + timedelta(seconds=int(seconds), minutes=offset or 0)
        date = moment.strftime("%Y-%m-%d")
        if not digits and not offset and moment.time() == EPOCH.time() and random.random() < 0.5:
            return date
        if not digits and moment.second == 0 and random.random() < 0.3:
            time = moment.strftime("%H:%M")
        else:
            time = moment.strftime("%H:%M:%S") + (f".{digits}" if digits else "")
        zone = (
            ""
            if offset is None
            else random.choice(("Z", "Z", "z", ""))
            if not offset
            else (f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}")
        )
        return f"{date}{random.choice('TT t')}{time}{zone}"
