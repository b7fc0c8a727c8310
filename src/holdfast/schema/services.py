"""The documents that are no rows: services, logon sessions, links, paging, references, errors.

They are declared like the structures of resources, so that the XML schema and the JSON schemas
come from one place.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.schema import link_lists
from holdfast.schema.resources.reports import SUMMARY_ROOT
from holdfast.schema.types import (
    HREF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Structure,
    structure,
)

LINK = Element(
    "Link",
    Structure(
        attributes=(
            Element("Rel", STRING),
            Element("Href", HREF),
            Element("Name", STRING, optional=True),
            Element("Type", STRING, optional=True),
        )
    ),
    repeated=True,
)

#: The first child of nearly everything; a plain list in JSON.
LINKS = Element("Links", Structure(children=(LINK,), flat=True), optional=True)

PAGING_INFO = Element(
    "PagingInfo",
    Structure(
        children=(LINKS,),
        attributes=(
            Element("PageNum", INTEGER),
            Element("PageSize", INTEGER),
            Element("PagesCount", INTEGER),
        ),
    ),
)

ERROR = Element(
    "Error",
    Structure(
        children=(
            Element("FirstChanceExceptionMessage", STRING, optional=True),
            Element("StackTrace", STRING, optional=True),
        ),
        attributes=(
            Element("Message", STRING),
            Element("StatusCode", INTEGER),
            Element("Status", STRING, optional=True),
        ),
    ),
)


#: What happened in a system session.
SYSTEM_SESSION_EVENTS = Element(
    "SystemSessionEvents",
    Structure(
        children=(
            LINKS,
            Element(
                "Events",
                structure(
                    # Text: unlike every other time of the API it is written without a zone.
                    Element("CreationTimeUTC", STRING),
                    Element("Message", STRING),
                    Element("Order", INTEGER),
                ),
                repeated=True,
            ),
        ),
        attributes=(
            Element("Type", Enumeration(("SystemSessionEvents",))),
            Element("Href", HREF),
        ),
    ),
)


@dataclass(frozen=True)
class ServiceType:
    """A document that holds links and little else.

    `type` is its Type attribute; it has an Href when it has a Type or is `addressed`. `plural` is
    the root of a collection of them, where there is one.
    """

    root: str
    type: str | None = None
    elements: tuple[Element, ...] = ()
    plural: str | None = None
    addressed: bool = False

    @property
    def element(self) -> Element:
        """The document's element."""
        attributes: tuple[Element, ...] = ()
        if self.type is not None:
            attributes = (Element("Type", Enumeration((self.type,))), Element("Href", HREF))
        elif self.addressed:
            attributes = (Element("Href", HREF),)
        return Element(self.root, Structure((LINKS, *self.elements), attributes))


ENTERPRISE_MANAGER = ServiceType(
    "EnterpriseManager",
    elements=(
        Element(
            "SupportedVersions",
            structure(
                Element(
                    "SupportedVersion",
                    Structure(children=(LINKS,), attributes=(Element("Name", STRING),)),
                    repeated=True,
                    json_name="SupportedVersions",
                )
            ),
        ),
    ),
)
LOGON_SESSION = ServiceType(
    "LogonSession",
    "LogonSession",
    # The id is the secret of the session; nobody but its owner is shown it.
    (Element("UserName", STRING), Element("SessionId", STRING, optional=True)),
    plural="LogonSessions",
)
QUERY_SERVICE = ServiceType("QuerySvc", "QueryService")
LOOKUP_SERVICE = ServiceType("LookupSvc", "LookupService")
SUMMARY_REPORT = ServiceType(SUMMARY_ROOT)

SERVICES = (
    ENTERPRISE_MANAGER,
    LOGON_SESSION,
    QUERY_SERVICE,
    LOOKUP_SERVICE,
    SUMMARY_REPORT,
    *(ServiceType(s.root, s.type, addressed=s.href) for s in link_lists.SERVICES),
)
