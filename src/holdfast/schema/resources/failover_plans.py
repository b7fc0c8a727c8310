"""Plans by which replicas take over, in order."""

from __future__ import annotations

from holdfast.schema.resource import Relation, ResourceType, through
from holdfast.schema.resources.guest_processing import GUEST_PROCESSING_OPTIONS
from holdfast.schema.resources.links import UP_TO_SERVER, to_entity, to_reference
from holdfast.schema.roles import EVERYONE, Role
from holdfast.schema.types import (
    GUID,
    HIERARCHY_REF,
    HREF,
    INTEGER,
    STRING,
    Element,
    structure,
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
    fields=through("server", "BackupServer"),
    links=(UP_TO_SERVER, to_reference("FailoverPlan")),
    reference_links=(UP_TO_SERVER, to_entity("FailoverPlan")),
)
