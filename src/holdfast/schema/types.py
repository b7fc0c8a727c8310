"""The value types of the API: what an element, an attribute or a query field may hold.

A type says only what a value *is*. How it is stored is decided in `catalog`, how it is
written in `representation`, how a filter literal is read in `query`.

In memory (rows, feed records, structures) and in JSON a value is:

==============  ====================================================================
type            Python value
==============  ====================================================================
String          ``str``
HierarchyRef    ``str``, ``urn:<platform>:<type>:<root>.<reference>``
Uid, Guid       ``str``: the bare GUID, lower case, with dashes
Boolean         ``bool``
Integer         ``int`` (64 bits, signed)
Real            ``float``
DateTime        ``int``: milliseconds since 1970-01-01T00:00:00Z
Enumeration     ``str``, one of its values
Structure       ``dict``: attribute and child names to values; lists for repeated ones
==============  ====================================================================

``None`` always means: absent.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.schema.naming import snake_case


@dataclass(frozen=True)
class String:
    """Text. Compared without regard to case, by code point of its case-folded form."""


@dataclass(frozen=True)
class HierarchyRef:
    """A reference to an object of a platform's hierarchy; compared like text."""


@dataclass(frozen=True)
class Uid:
    """The UID of a resource of the named type, written ``urn:veeam:<entity>:<guid>``."""

    entity: str


@dataclass(frozen=True)
class Guid:
    """A bare GUID without urn, such as the ObjectInJobId of an object in a job."""


@dataclass(frozen=True)
class Boolean:
    """true or false."""


@dataclass(frozen=True)
class Integer:
    """A whole number of 64 bits; the API calls it Int, Int64, Long or UShort."""


@dataclass(frozen=True)
class Real:
    """A floating-point number; the API calls it Double."""


@dataclass(frozen=True)
class DateTime:
    """A moment, in UTC, to the millisecond."""


@dataclass(frozen=True)
class Enumeration:
    """One of a documented list of values. Comparison goes by the index in this list.

    With `undecided`, the value ``None`` (written so) stands for "still running"; it is
    lower than every other value.
    """

    values: tuple[str, ...]
    undecided: bool = False

    #: Index of the undecided value.
    UNDECIDED_INDEX = -1
    UNDECIDED_NAME = "None"

    def index(self, value: str) -> int:
        """Given one of the values in any case, return its index; ValueError for another.

        Values that differ in nothing but case, such as ``Mbps`` and ``MBps``, are told apart.
        """
        if value in self.values:
            return self.values.index(value)
        wanted = value.casefold()
        if self.undecided and wanted == self.UNDECIDED_NAME.casefold():
            return self.UNDECIDED_INDEX
        for index, known in enumerate(self.values):
            if known.casefold() == wanted:
                return index
        raise ValueError(f"expected one of {', '.join(self.names)}")

    def name_of(self, index: int) -> str:
        """Given an index, return the value's name."""
        return self.UNDECIDED_NAME if index == self.UNDECIDED_INDEX else self.values[index]

    @property
    def names(self) -> tuple[str, ...]:
        """Every value that may be written, lowest first."""
        return (self.UNDECIDED_NAME, *self.values) if self.undecided else self.values


@dataclass(frozen=True)
class Href:
    """An address of a resource, kept relative to the base of the API (``/jobs/<id>``)."""


@dataclass(frozen=True)
class Structure:
    """An element with parts of its own: attributes first, then children in sequence order.

    `text` names the key of a structure's text content, for elements such as
    ``<Day Name="Sunday">1,1,…</Day>``. The children of an `unordered` one may come in any order in
    a request. A `flat` structure, such as a list of ``Path`` elements,
    is in JSON the plain list of its one child; in rows it is a ``dict`` like any other.
    """

    children: tuple[Element, ...] = ()
    attributes: tuple[Element, ...] = ()
    text: str | None = None
    flat: bool = False
    unordered: bool = False


Scalar = (
    String | HierarchyRef | Uid | Guid | Boolean | Integer | Real | DateTime | Enumeration | Href
)
Type = Scalar | Structure

STRING = String()
HIERARCHY_REF = HierarchyRef()
GUID = Guid()
BOOLEAN = Boolean()
INTEGER = Integer()
REAL = Real()
DATE_TIME = DateTime()
HREF = Href()


@dataclass(frozen=True)
class Element:
    """A named value of a resource: a child element or an attribute.

    `field` is its name in filters and sorts where that differs from the element's own
    (the element ``CreationTimeUTC`` is the field ``CreationTime``); both are accepted.
    `sort_by` names a stored element to sort by in its place. `repeated` makes the value a
    list; `json_name` is then the member's name in JSON where it differs. `stored_as` names the
    column where the element's own name would not do (``Id`` is the row's number). `taken_from`
    is the path of a part of a structure of the same row, ``JobSettings.JobSchedulerType``: a
    value that is not given is taken from there.
    """

    name: str
    type: Type
    optional: bool = False
    repeated: bool = False
    field: str | None = None
    sort_by: str | None = None
    json_name: str | None = None
    stored_as: str | None = None
    taken_from: str | None = None

    @property
    def column(self) -> str:
        """The name of the column that holds the value."""
        return self.stored_as or snake_case(self.name)


def structure(*children: Element, attributes: tuple[Element, ...] = ()) -> Structure:
    """Given children (and attributes), return the structure made of them."""
    return Structure(children=children, attributes=attributes)
