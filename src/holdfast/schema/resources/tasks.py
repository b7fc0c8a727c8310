"""Tasks: what a logon session has asked for and how it went."""

from __future__ import annotations

from holdfast.schema.resource import Link, ResourceType
from holdfast.schema.roles import EVERYONE
from holdfast.schema.types import (
    BOOLEAN,
    HREF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Structure,
    structure,
)

TASK = ResourceType(
    name="Task",
    plural="Tasks",
    collection="/tasks",
    readers=EVERYONE,
    key=False,
    identifier="TaskId",
    private_to_logon=True,
    elements=(
        Element("TaskId", STRING, sort_by="Number"),
        Element("State", Enumeration(("Running", "OperationFinished", "Finished"))),
        Element("Operation", STRING),
        Element(
            "Result",
            Structure(
                attributes=(Element("Success", BOOLEAN),),
                children=(Element("Message", STRING, optional=True),),
            ),
            optional=True,
        ),
    ),
    stored=(
        Element("Number", INTEGER),
        Element("RelatedType", STRING, optional=True),
        Element("RelatedName", STRING, optional=True),
        Element(
            "Link",
            structure(
                Element("Rel", STRING),
                Element("Path", HREF),
                Element("Type", STRING),
                Element("Name", STRING),
            ),
            optional=True,
        ),
    ),
    links=(
        Link("Delete", path=""),
        Link("Related", any_of="related"),
        Link("Related", kept="Link"),
    ),
    default_sort="TaskId",
    query_service_sort="TaskUid",
)
