"""The XML schema of everything the API answers with, made from the declarations.

Every resource type has a complex type of its own name; every root that an answer can have is a
global element. An element that types of different shapes share is open to any content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from lxml import etree

from holdfast.representation import shapes
from holdfast.schema import file_system, types
from holdfast.schema.naming import XML_NAMESPACE, urn_prefix
from holdfast.schema.resource import ResourceType, Schema
from holdfast.schema.resources.reports import FRAMES
from holdfast.schema.services import (
    ERROR,
    LINKS,
    PAGING_INFO,
    SERVICES,
    SYSTEM_SESSION_EVENTS,
)

_XS = "http://www.w3.org/2001/XMLSchema"
_GUID_PATTERN = "-".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12))

#: Types by name: what they restrict and the pattern they must have.
_PATTERNS = {
    "Boolean": ("boolean", "true|false"),
    "DateTimeUtc": ("dateTime", r"[^.]*(\.[0-9]{1,3})?Z"),
    "Guid": ("string", _GUID_PATTERN),
}
_UNBOUNDED = "unbounded"
_REFERENCE = "Reference"


@lru_cache(maxsize=8)
def xml_schema(schema: Schema) -> bytes:
    """Given the resource types, return the document of the XML schema."""
    root = etree.Element(
        f"{{{_XS}}}schema",
        {
            "targetNamespace": XML_NAMESPACE,
            "elementFormDefault": "qualified",
            "attributeFormDefault": "unqualified",
        },
        nsmap={"xs": _XS, "e": XML_NAMESPACE},
    )
    for name, (base, pattern) in _PATTERNS.items():
        _restrict(_add(root, "simpleType", name=name), base, "pattern", [pattern])
    for shared in (LINKS, PAGING_INFO):
        _complex(_add(root, "complexType", name=shared.name), shared.type)
    _complex(_add(root, "complexType", name=_REFERENCE), shapes.reference(schema).type)
    for resource in schema:
        _complex(_add(root, "complexType", name=resource.name), shapes.entity(resource).type)
    _item_roots(root, schema)
    _collection_roots(root, schema)
    _query_result(root, schema)
    _other_roots(root)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8", pretty_print=True)


def _item_roots(root: etree._Element, schema: Schema) -> None:
    _add(root, "element", name=shapes.REFERENCE_ROOT, type=f"e:{_REFERENCE}")
    by_name: dict[str, list[ResourceType]] = {}
    for resource in schema:
        by_name.setdefault(resource.element_name, []).append(resource)
    for name, resources in by_name.items():
        _add(root, "element", name=name, type=_type_of_any(resources))


def _collection_roots(root: etree._Element, schema: Schema) -> None:
    references = _sequence(_add(root, "element", name=shapes.REFERENCES_ROOT))
    _references(references)
    _paging(references, required=False)
    for container in shapes.collections(schema):
        sequence = _sequence(_add(root, "element", name=container.name))
        _items(sequence, container)
        _paging(sequence, required=False)


def _query_result(root: etree._Element, schema: Schema) -> None:
    sequence = _sequence(_add(root, "element", name="QueryResult"))
    choice = _add(sequence, "choice")
    _references(_sequence(_add(choice, "element", name="Refs")))
    for name, key in (("Entities", True), ("Resources", False)):
        containers = shapes.query_containers(schema, key=key)
        if containers:
            outer = _add(_add(choice, "element", name=name), "complexType")
            inner = _add(outer, "choice")
            for container in containers:
                _items(_sequence(_add(inner, "element", name=container.name)), container)
    _paging(sequence, required=True)


def _other_roots(root: etree._Element) -> None:
    for element in (
        ERROR,
        SYSTEM_SESSION_EVENTS,
        *(frame.root for frame in FRAMES),
        *file_system.OBJECTS,
        *file_system.LISTS,
    ):
        _complex(_add(_add(root, "element", name=element.name), "complexType"), element.type)
    for service in SERVICES:
        _complex(_add(root, "complexType", name=service.root), service.element.type)
        _add(root, "element", name=service.root, type=f"e:{service.root}")
        if service.plural is not None:
            sequence = _sequence(_add(root, "element", name=service.plural))
            _repeat(sequence, service.root, f"e:{service.root}")


def _references(sequence: etree._Element) -> None:
    _repeat(sequence, shapes.REFERENCE_ITEM, f"e:{_REFERENCE}")


def _items(sequence: etree._Element, container: shapes.Container) -> None:
    by_name: dict[str, list[ResourceType]] = {}
    for item, resource in container.items:
        by_name.setdefault(item, []).append(resource)
    if len(by_name) == 1:
        [(item, resources)] = by_name.items()
        _repeat(sequence, item, _type_of_any(resources))
        return
    choice = _add(sequence, "choice", minOccurs="0", maxOccurs=_UNBOUNDED)
    for item, resources in by_name.items():
        _add(choice, "element", name=item, type=_type_of_any(resources))


def _type_of_any(resources: Sequence[ResourceType]) -> str:
    """Given the types that share an element, return the name of the type it has."""
    alike = {shapes.entity(resource) for resource in resources}
    return f"e:{resources[0].name}" if len(alike) == 1 else "xs:anyType"


def _paging(sequence: etree._Element, *, required: bool) -> None:
    element = _add(sequence, "element", name=PAGING_INFO.name, type=f"e:{PAGING_INFO.name}")
    if not required:
        element.set("minOccurs", "0")


def _repeat(sequence: etree._Element, name: str, type_name: str) -> None:
    _add(sequence, "element", name=name, type=type_name, minOccurs="0", maxOccurs=_UNBOUNDED)


def _complex(complex_type: etree._Element, structure: types.Type) -> None:
    """Given an empty complex type and the structure it is to have, fill it in."""
    if not isinstance(structure, types.Structure):
        raise TypeError("a complex type is a structure")
    holder = complex_type
    if structure.text is not None and not structure.children:
        holder = _add(_add(complex_type, "simpleContent"), "extension", base="xs:string")
    elif structure.children:
        if structure.text is not None:
            complex_type.set("mixed", "true")
        sequence = _add(complex_type, "sequence")
        for child in structure.children:
            _child(sequence, child)
    for attribute in structure.attributes:
        declared = _add(holder, "attribute", name=attribute.name)
        if not shapes.may_be_missing(attribute):
            declared.set("use", "required")
        _typed(declared, attribute.type)


def _child(sequence: etree._Element, child: types.Element) -> None:
    element = _add(sequence, "element", name=child.name)
    if child.repeated or shapes.may_be_missing(child):
        element.set("minOccurs", "0")
    if child.repeated:
        element.set("maxOccurs", _UNBOUNDED)
    if child is LINKS:
        element.set("type", f"e:{LINKS.name}")
    elif isinstance(child.type, types.Structure):
        _complex(_add(element, "complexType"), child.type)
    else:
        _typed(element, child.type)


def _typed(declared: etree._Element, value_type: types.Type) -> None:
    """Given an element or attribute without a type, give it the one of its values."""
    match value_type:
        case types.Enumeration():
            simple = _add(declared, "simpleType")
            _restrict(simple, "string", "enumeration", value_type.names)
        case types.Uid():
            pattern = urn_prefix(value_type.entity) + _GUID_PATTERN
            _restrict(_add(declared, "simpleType"), "string", "pattern", [pattern])
        case _:
            declared.set("type", _simple_type(value_type))


def _simple_type(value_type: types.Type) -> str:
    match value_type:
        case types.Boolean():
            return "e:Boolean"
        case types.DateTime():
            return "e:DateTimeUtc"
        case types.Guid():
            return "e:Guid"
        case types.Integer():
            return "xs:long"
        case types.Real():
            return "xs:double"
        case types.Href():
            return "xs:anyURI"
        case _:
            return "xs:string"


def _restrict(simple: etree._Element, base: str, facet: str, values: Iterable[str]) -> None:
    restriction = _add(simple, "restriction", base=f"xs:{base}")
    for value in values:
        _add(restriction, facet, value=value)


def _sequence(element: etree._Element) -> etree._Element:
    return _add(_add(element, "complexType"), "sequence")


def _add(parent: etree._Element, tag: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{_XS}}}{tag}", attributes)
