"""The catalog of the files in backed-up machines: which machines, at which points."""

from __future__ import annotations

from holdfast.schema.resource import Link, Relation, ResourceType, SubCollection
from holdfast.schema.resources.links import down, to_reference, up_to_entity
from holdfast.schema.roles import EVERYONE
from holdfast.schema.types import DATE_TIME, STRING, Element

_POINTS = down("CatalogVmRestorePointReferenceList", "/vmRestorePoints")

CATALOG_VM = ResourceType(
    name="CatalogVm",
    plural="CatalogVms",
    collection="/catalog/vms",
    queryable=False,
    identifier="Name",
    readers=EVERYONE,
    attributes=(Element("VmDisplayName", STRING),),
    relations=(Relation("server", "BackupServer"),),
    links=(to_reference("CatalogVm"), _POINTS),
    reference_links=(Link("Alternate", "CatalogVm", path="?format=Entity"), _POINTS),
    children=(SubCollection("vmRestorePoints", "CatalogVmRestorePoint", "vm"),),
)

CATALOG_VM_RESTORE_POINT = ResourceType(
    name="CatalogVmRestorePoint",
    plural="CatalogVmRestorePoints",
    collection="/vmRestorePoints",
    queryable=False,
    parent="vm",
    readers=EVERYONE,
    relations=(
        Relation("server", "BackupServer"),
        Relation("vm", "CatalogVm"),
        Relation("point", "VmRestorePoint"),
    ),
    elements=(Element("BackupDateUTC", DATE_TIME, field="CreationTime"),),
    links=(
        to_reference("CatalogVmRestorePoint"),
        up_to_entity("vm"),
        Link("Browse", path="?action=browse"),
        Link("Related", relation="point", entity=True, named=True),
    ),
    reference_links=(
        Link("Up", "CatalogVm", relation="vm"),
        Link("Alternate", "CatalogVmRestorePoint", path="?format=Entity"),
    ),
    default_sort="CreationTime",
    newest_first=True,
)
