"""What people say in JSON, read as the struct it should be; refusals name the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")

_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_WRONG_KIND = re.compile(r"Expected `[^`]*`, got `(\w+)`")
_WRONG_VALUE = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
#: Any other way in which msgspec says that a value is not what its type asks for.
_WRONG = re.compile(r"Expected `|Invalid ")
_OWN_FIELD = re.compile(r"(\w+)(?:\[\d+\])*(?:\.\w+)*: ")

#: The types of JSON in the words of people, by msgspec's.
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a fraction",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_PLAIN: tuple[tuple[type[inspect.Type], str], ...] = (
    (inspect.IntType, "a whole number"),
    (inspect.FloatType, "a number"),
    (inspect.BoolType, "true or false"),
    (inspect.UUIDType, "a UID (the GUID alone)"),
    (inspect.TimeType, "a time of day such as 22:00:00"),
    (inspect.DateTimeType, "a moment such as 2026-03-02T22:00:00Z"),
    (inspect.DictType, "an object"),
    (inspect.StructType, "an object"),
    (inspect.NoneType, "null"),
)


class MismatchError(ValueError):
    """What was given is not what it should be: the field, and what was expected there."""


def read_struct(given: Any, wanted: type[T]) -> T:
    """Given what JSON holds, return it as the struct it should be. Raises MismatchError.

    Its text is ``<field>: expected ...``, without a full stop.
    """
    try:
        return msgspec.convert(given, wanted)
    except msgspec.ValidationError as error:
        raise MismatchError(_explained(str(error), given, wanted)) from None


def _explained(error: str, given: Any, wanted: type[Any]) -> str:
    """Given what msgspec says of a value, return the same in words that lead to its mending."""
    found = _PLACE.search(error)
    reason, path = (error[: found.start()], found["path"]) if found else (error, "")
    place = path.removeprefix(".")
    types = _types_at(_STEP.findall(path), given, inspect.type_info(wanted))
    if found and found["key"]:
        types = [each.key_type for each in types if isinstance(each, inspect.DictType)]
    if field := _FIELD.fullmatch(reason):
        return _of_field(_below(place, field[2]), field[2], types, is_missing=field[1][0] == "m")
    if not _WRONG.match(reason):
        # One of our own, which may name the field below the place already.
        own = _OWN_FIELD.match(reason)
        if own and own[1] in _fields(types):
            return _below(place, reason)
        return f"{place}: {reason}" if place else reason
    return f"{place or 'The body'}: expected {_expected(types)}{_instead(reason)}"


def _of_field(place: str, name: str, types: Sequence[inspect.Type], *, is_missing: bool) -> str:
    """Return what is wrong with a field that is missing, or that is not among those there are."""
    fields = _fields(types)
    if is_missing:
        return f"{place}: expected {_expected(fields.get(name, ()))}; it is missing"
    if near := get_close_matches(name, fields, 1):
        return f"{place}: there is no such field; expected {near[0]}"
    return f"{place}: there is no such field; expected one of {', '.join(fields)}"


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _instead(reason: str) -> str:
    """Return what there is instead, as far as it may be shown: a wrong text may be a secret."""
    if kind := _WRONG_KIND.match(reason):
        return f", not {_KINDS.get(kind[1], kind[1])}"
    if value := _WRONG_VALUE.fullmatch(reason):
        return f", not {value[1]}"
    return ""


def _types_at(
    steps: Iterable[tuple[str, str]], given: Any, wanted: inspect.Type
) -> list[inspect.Type]:
    """Return which types a value may have that steps lead to, from what was given and its type."""
    types = list(_single(wanted, given))
    for name, index in steps:
        if name:
            given = given.get(name) if isinstance(given, dict) else None
            below = _fields(types).get(name, ())
        else:
            # Which key of a dictionary is meant is not told.
            is_item = isinstance(given, list) and index.isdecimal() and int(index) < len(given)
            given = given[int(index)] if is_item else None
            below = [item for each in types for item in _items(each)]
        types = [single for each in below for single in _single(each, given)]
    return types


def _single(wanted: inspect.Type, given: Any) -> Iterator[inspect.Type]:
    """Return the types that a type is a union of; of structs with tags the one that is named."""
    every = wanted.types if isinstance(wanted, inspect.UnionType) else (wanted,)
    every = tuple(each.type if isinstance(each, inspect.Metadata) else each for each in every)
    named = [
        each
        for each in every
        if isinstance(each, inspect.StructType)
        and each.tag_field is not None
        and isinstance(given, dict)
        and given.get(each.tag_field) == each.tag
    ]
    yield from named or every


def _items(wanted: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(wanted, inspect.DictType):
        return (wanted.value_type,)
    if isinstance(wanted, (inspect.ListType, inspect.VarTupleType)):
        return (wanted.item_type,)
    return ()


def _fields(types: Iterable[inspect.Type]) -> dict[str, list[inspect.Type]]:
    """Return the fields that structs have, by name; a tag is one, too."""
    found: dict[str, list[inspect.Type]] = {}
    for struct in types:
        if isinstance(struct, inspect.StructType):
            if struct.tag_field is not None:
                found.setdefault(struct.tag_field, []).append(inspect.LiteralType((struct.tag,)))
            for field in struct.fields:
                found.setdefault(field.encode_name, []).append(field.type)
    return found


def _expected(types: Iterable[inspect.Type]) -> str:
    """Return in words what any of some types takes."""
    single = [part for each in types for part in _single(each, None)]
    words = {word: None for each in single for word in _words(each)}
    *others, last = words or {"something else": None}
    return f"{', '.join(others)} or {last}" if others else last


def _words(wanted: inspect.Type) -> tuple[str, ...]:
    if isinstance(wanted, inspect.LiteralType):
        return tuple(map(str, wanted.values))
    if isinstance(wanted, inspect.EnumType):
        return tuple(str(each.value) for each in wanted.cls)
    if isinstance(wanted, inspect.StrType):
        return (_text(wanted),)
    if isinstance(wanted, (inspect.ListType, inspect.VarTupleType)):
        return ("a list",)
    for kind, words in _PLAIN:
        if isinstance(wanted, kind):
            return (words,)
    return ()


def _text(wanted: inspect.StrType) -> str:
    least, most = wanted.min_length, wanted.max_length
    limits = []
    if least and most:
        limits.append(f" of {least} to {most} characters")
    elif most:
        limits.append(f" of at most {most} characters")
    elif least:
        limits.append(f" of at least {least} characters")
    if wanted.pattern:
        limits.append(f" that matches {wanted.pattern}")
    return "text" + "".join(limits)
