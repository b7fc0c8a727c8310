"""Plans by which replicas take over, in order."""

from __future__ import annotations

from holdfast.schema.resource import Action, Link, Relation, ResourceType, through
from holdfast.schema.resources.guest_processing import GUEST_PROCESSING_OPTIONS
from holdfast.schema.resources.links import UP_TO_SERVER, to_entity, to_reference
from holdfast.schema.roles import ADMINISTRATOR, EVERYONE, FAILOVER_OPERATORS, Role
from holdfast.schema.types import (
    BOOLEAN,
    DATE_TIME,
    GUID,
    HIERARCHY_REF,
    HREF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    structure,
)

FAILOVER_PLAN_MANAGEMENT_SPEC = Element(
    "FailoverPlanManagementSpec",
    structure(
        Element("StartNow", BOOLEAN, optional=True),
        Element("StartDate", DATE_TIME, optional=True),
    ),
)

_MACHINES = structure(
    Element(
        "Machine",
        structure(
            Element("Replica", GUID),
            Element("Delay", INTEGER),
            Element("Started", BOOLEAN),
        ),
        repeated=True,
        json_name="Machines",
    )
)

FAILOVER_PLAN = ResourceType(
    name="FailoverPlan",
    plural="FailoverPlans",
    collection="/failoverPlans",
    readers=EVERYONE - {Role.PORTAL_USER},
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Description", STRING, optional=True),
        Element(
            "FailoverPlanInfo",
            structure(
                Element(
                    "Includes",
                    structure(
                        Element(
                            "FailoveredVm",
                            structure(
                                Element("FailoveredVmId", GUID, optional=True),
                                Element("HierarchyObjRef", HIERARCHY_REF, optional=True),
                                Element("Name", STRING, optional=True),
                                Element("DisplayName", STRING),
                                Element("Order", INTEGER, optional=True),
                                Element(
                                    "GuestProcessingOptions",
                                    GUEST_PROCESSING_OPTIONS,
                                    optional=True,
                                ),
                                attributes=(Element("Type", STRING), Element("Href", HREF)),
                            ),
                            repeated=True,
                            json_name="FailoveredVms",
                        ),
                    ),
                    optional=True,
                ),
            ),
        ),
    ),
    stored=(
        # Beside what the documents show of them, and in the same order.
        Element("Machines", _MACHINES, optional=True),
        # While that is under way; and how the last one ended.
        Element("Doing", Enumeration(("start", "undo")), optional=True),
        Element("Outcome", STRING, optional=True),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("FailoverPlan"),
        Link("Edit", "FailoverPlanReference", path="", named=True),
        Link("Start", path="?action=start"),
        Link("Undo", path="?action=undo"),
    ),
    actions=(
        Action("start", "StartFailoverPlan", FAILOVER_OPERATORS, body="FailoverPlanManagementSpec"),
        Action("undo", "UndoFailoverPlan", FAILOVER_OPERATORS),
        Action("edit", "EditFailoverPlan", ADMINISTRATOR, body="FailoverPlan", method="PUT"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("FailoverPlan")),
)
