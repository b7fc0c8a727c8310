"""JSON values: members named as in XML, nothing left out, null for what is absent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from holdfast.representation.links import LinkValue
from holdfast.representation.moments import moment_text
from holdfast.schema import types
from holdfast.schema.naming import urn_prefix

_ENCODER = msgspec.json.Encoder()

_LEADING_CAPITALS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]")


def encode(document: Any, *, camel: bool = False) -> bytes:
    """Given a document of plain values, return its JSON; with `camel`, members in camelCase."""
    return _ENCODER.encode(_camel(document) if camel else document)


def camel_case(name: str) -> str:
    """Given a member's name, return it in camelCase.

    A leading run of capitals is lowered except the last one before a small letter:
    ``UID`` → ``uid``, ``VmUid`` → ``vmUid``, ``NASJobs`` → ``nasJobs``.
    """
    return _LEADING_CAPITALS.sub(lambda found: found[0].lower(), name, count=1)


def _camel(document: Any) -> Any:
    if isinstance(document, dict):
        return {camel_case(name): _camel(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_camel(item) for item in document]
    return document


def links(values: Iterable[LinkValue]) -> list[dict[str, str | None]]:
    """Given links, return the ``Links`` member."""
    return [
        {"Rel": value.rel, "Href": value.href, "Name": value.name, "Type": value.type}
        for value in values
    ]


#: Given a value or None and the base address, the JSON value.
ValueWriter = Callable[[Any, str], Any]


def member_name(element: types.Element) -> str:
    """Given an element, return the name of its member."""
    return element.json_name or element.name


def value_writer(element: types.Element) -> ValueWriter:
    """Given an element or attribute, return the writer of its member's value."""
    one = _one_value(element.type)
    if element.repeated:
        return lambda value, base: [one(item, base) for item in value or ()]
    empty: Any = None
    if isinstance(element.type, types.Structure) and element.type.flat:
        # An empty list, like any other.
        empty = []
    elif isinstance(element.type, types.String) and not element.optional:
        empty = ""
    return lambda value, base: empty if value is None else one(value, base)


def _one_value(value_type: types.Type) -> ValueWriter:
    match value_type:
        case types.Structure():
            return _structure_writer(value_type)
        case types.DateTime():
            return lambda value, base: moment_text(value)
        case types.Uid():
            prefix = urn_prefix(value_type.entity)
            return lambda value, base: f"{prefix}{value}"
        case types.Href():
            return lambda value, base: f"{base}{value}"
        case _:
            return lambda value, base: value


def _structure_writer(structure: types.Structure) -> ValueWriter:
    parts = [
        (part.name, member_name(part), value_writer(part))
        for part in (*structure.children, *structure.attributes)
    ]
    text_key = structure.text
    if structure.flat:
        ((key, _, write_list),) = parts
        return lambda value, base: write_list(value.get(key), base)

    def write(value: Mapping[str, Any], base: str) -> dict[str, Any]:
        written = {member: write_part(value.get(key), base) for key, member, write_part in parts}
        if text_key is not None:
            written[text_key] = value.get(text_key) or ""
        return written

    return write
