"""XML text: escaping, links, values, structures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.representation.links import LinkValue
from holdfast.representation.moments import moment_text
from holdfast.schema import types
from holdfast.schema.naming import XML_NAMESPACE, urn_prefix

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
NAMESPACE_ATTRIBUTE = f' xmlns="{XML_NAMESPACE}"'

# What XML 1.0 cannot hold at all, and what must be written as a reference. Line breaks stand as
# they are in text, but an attribute would lose them, and a carriage return is lost anywhere.
_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_TEXT = re.compile(f"[&<>\r{_FORBIDDEN}]")
_ATTRIBUTE = re.compile(f'[&<>"\r\n\t{_FORBIDDEN}]')
_REFERENCES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\r": "&#13;",
    "\n": "&#10;",
    "\t": "&#9;",
}


def _reference(found: re.Match[str]) -> str:
    return _REFERENCES.get(found[0], "\ufffd")


def text(value: str) -> str:
    """Given any text, return it as XML content; what XML cannot hold becomes U+FFFD."""
    return _TEXT.sub(_reference, value)


def attribute(value: str) -> str:
    """Given any text, return it as the value of an XML attribute, without its quotes."""
    return _ATTRIBUTE.sub(_reference, value)


def links(values: Iterable[LinkValue]) -> str:
    """Given links, return the ``Links`` element; nothing when there are none."""
    written = "".join([link(value) for value in values])
    return f"<Links>{written}</Links>" if written else ""


def link(value: LinkValue) -> str:
    """Given a link, return its element."""
    link_type = f' Type="{attribute(value.type)}"' if value.type is not None else ""
    name = f' Name="{attribute(value.name)}"' if value.name is not None else ""
    return f'<Link Rel="{attribute(value.rel)}"{link_type} Href="{attribute(value.href)}"{name} />'


#: Given a value (never None) and the base address, the XML text of it.
ValueWriter = Callable[[Any, str], str]


def value_writer(value_type: types.Scalar) -> ValueWriter:
    """Given a type, return the writer of its values, escaped for content and attributes alike."""
    match value_type:
        case types.Boolean():
            return lambda value, base: "true" if value else "false"
        case types.Integer():
            return lambda value, base: str(value)
        case types.Real():
            return lambda value, base: f"{value:.12g}"
        case types.DateTime():
            return lambda value, base: moment_text(value)
        case types.Uid():
            prefix = urn_prefix(value_type.entity)
            return lambda value, base: f"{prefix}{value}"
        case types.Href():
            return lambda value, base: attribute(f"{base}{value}")
        case _:
            return lambda value, base: text(value)


#: Given a value or None and the base address, the whole element, or nothing.
ElementWriter = Callable[[Any, str], str]


def element_writer(element: types.Element) -> ElementWriter:
    """Given an element, return the writer of it."""
    one = _one_element(element)
    if not element.repeated:
        return one
    return lambda value, base: "".join([one(item, base) for item in value or ()])


def _one_element(element: types.Element) -> ElementWriter:
    name = element.name
    if isinstance(element.type, types.Structure):
        return _structure_writer(name, element.type)
    write = value_writer(element.type)
    empty = f"<{name} />"
    missing = empty if not element.optional and isinstance(element.type, types.String) else ""

    def write_element(value: Any, base: str) -> str:
        if value is None:
            return missing
        written = write(value, base)
        return f"<{name}>{written}</{name}>" if written else empty

    return write_element


def attribute_writer(element: types.Element) -> ElementWriter:
    """Given an attribute, return the writer of it, with a space before."""
    name = element.name
    if isinstance(element.type, types.Structure):
        raise TypeError(f"the attribute {name} cannot be a structure")
    if isinstance(element.type, types.String | types.HierarchyRef):
        return lambda value, base: "" if value is None else f' {name}="{attribute(value)}"'
    write = value_writer(element.type)
    return lambda value, base: "" if value is None else f' {name}="{write(value, base)}"'


def _structure_writer(name: str, structure: types.Structure) -> ElementWriter:
    attributes = [(a.name, attribute_writer(a)) for a in structure.attributes]
    children = [(child.name, element_writer(child)) for child in structure.children]
    text_key = structure.text

    def write_structure(value: Mapping[str, Any] | None, base: str) -> str:
        if value is None:
            return ""
        head = "".join([write(value.get(key), base) for key, write in attributes])
        body = "".join([write(value.get(key), base) for key, write in children])
        if text_key is not None:
            body += text(value.get(text_key) or "")
        return f"<{name}{head}>{body}</{name}>" if body else f"<{name}{head} />"

    return write_structure
