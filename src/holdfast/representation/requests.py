"""Request bodies, in XML or JSON, read against a declared structure.

Nothing in them is trusted: no DTD, no entities, no network, bounded size and depth.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from lxml import etree

from holdfast.schema import types
from holdfast.schema.naming import XML_NAMESPACE, guid_of

#: The largest body that is read, in bytes.
MAXIMUM_BYTES = 1 << 20
MAXIMUM_DEPTH = 32

_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,19}", re.ASCII)


class RequestError(ValueError):
    """A body that cannot be understood; the message names the element and what was expected."""


def read_body(
    body: bytes, *, is_json: bool, root: types.Element, any_root: bool = False
) -> dict[str, Any]:
    """Given a body and the declaration of its root, return its values by name.

    Raises RequestError. XML children must stand in the declared order; the root must have its
    name unless it may have `any_root`.
    """
    if not isinstance(root.type, types.Structure):
        raise TypeError("a body is a structure")
    if is_json:
        return _from_json(read_json(body), root.type, root.name)
    element = _parsed(body)
    if not any_root and _local(element) != root.name:
        raise RequestError(f"Expected the root element {root.name}, not {_local(element)}.")
    return _from_xml(element, root.type, root.name)


def read_json(body: bytes) -> Any:
    """Given a body, return the JSON value it holds. Raises RequestError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body is not JSON: {error}") from None


def _parsed(body: bytes) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        dtd_validation=False,
    )
    try:
        element = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise RequestError(f"The body is not well-formed XML: {error.msg}") from None
    document = element.getroottree().docinfo
    if getattr(document, "doctype", ""):
        raise RequestError("A document type declaration is not accepted.")
    return element


def _local(element: etree._Element) -> str:
    name = etree.QName(element)
    if name.namespace not in (None, XML_NAMESPACE):
        raise RequestError(f"Element {name.localname}: expected the namespace {XML_NAMESPACE}.")
    return name.localname


def _from_xml(element: etree._Element, structure: types.Structure, at: str) -> dict[str, Any]:
    if at.count(".") > MAXIMUM_DEPTH:
        raise RequestError(f"Element {at}: nested too deep.")
    values: dict[str, Any] = {}
    for attribute in structure.attributes:
        written = element.get(attribute.name)
        if written is not None:
            values[attribute.name] = _scalar(written, attribute, f"{at}.{attribute.name}")
    order = [child.name for child in structure.children]
    reached = 0
    for child in element:
        if not isinstance(child.tag, str):
            continue
        name = _local(child)
        if name == "Links":
            continue
        if name not in order:
            raise RequestError(f"Element {at}: {name} is not expected; known are {_list(order)}.")
        position = order.index(name)
        if position < reached and not structure.unordered:
            raise RequestError(
                f"Element {at}: {name} must come before {order[reached]};"
                f" the order is {_list(order)}."
            )
        reached = position
        declared = structure.children[position]
        inside = f"{at}.{name}"
        value = (
            _from_xml(child, declared.type, inside)
            if isinstance(declared.type, types.Structure)
            else _scalar((child.text or "").strip(), declared, inside)
        )
        if declared.repeated:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise RequestError(f"Element {at}: {name} may stand there once.")
        else:
            values[name] = value
    if structure.text is not None:
        values[structure.text] = (element.text or "").strip()
    return values


def _from_json(document: Any, structure: types.Structure, at: str) -> dict[str, Any]:
    if structure.flat and isinstance(document, list):
        (child,) = structure.children
        document = {child.name: document}
    if not isinstance(document, dict):
        raise RequestError(f"{at}: expected an object.")
    known = {
        name.casefold(): part
        for part in (*structure.children, *structure.attributes)
        for name in (part.json_name or part.name, part.name)
    }
    values: dict[str, Any] = {}
    for member, value in document.items():
        part = known.get(member.casefold())
        if part is None:
            if structure.text is not None and member.casefold() == structure.text.casefold():
                values[structure.text] = str(value)
                continue
            if member.casefold() in ("links", "href", "type"):
                continue
            names = sorted(part.json_name or part.name for part in known.values())
            raise RequestError(f"{at}: {member} is not expected; known are {_list(names)}.")
        if value is None:
            continue
        inside = f"{at}.{member}"
        if part.repeated:
            if not isinstance(value, list):
                raise RequestError(f"{inside}: expected a list.")
            values[part.name] = [_json_value(item, part, inside) for item in value]
        else:
            values[part.name] = _json_value(value, part, inside)
    return values


def _json_value(value: Any, part: types.Element, at: str) -> Any:
    if isinstance(part.type, types.Structure):
        return _from_json(value, part.type, at)
    if isinstance(value, bool):
        return _scalar("true" if value else "false", part, at)
    if isinstance(value, int | float | str):
        return _scalar(str(value), part, at)
    raise RequestError(f"{at}: expected a single value.")


def _scalar(written: str, element: types.Element, at: str) -> Any:
    match element.type:
        case types.Boolean():
            if written.lower() in ("true", "1"):
                return True
            if written.lower() in ("false", "0"):
                return False
            raise RequestError(f"{at}: expected true or false.")
        case types.Integer():
            if not _WHOLE_NUMBER.fullmatch(written):
                raise RequestError(f"{at}: expected a whole number.")
            return int(written)
        case types.Enumeration():
            try:
                return element.type.name_of(element.type.index(written))
            except ValueError as error:
                raise RequestError(f"{at}: {error}.") from None
        case types.Uid() | types.Guid():
            try:
                return str(guid_of(written))
            except ValueError as error:
                raise RequestError(f"{at}: {error}.") from None
        case _:
            return written


def _list(names: list[str]) -> str:
    return ", ".join(names)
