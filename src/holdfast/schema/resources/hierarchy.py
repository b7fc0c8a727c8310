"""What is found below a hierarchy root: machines, hosts, directories."""

from __future__ import annotations

from holdfast.schema.resource import Relation, ResourceType
from holdfast.schema.types import HIERARCHY_REF, STRING, Element

HIERARCHY_ITEM = ResourceType(
    name="HierarchyItem",
    plural="HierarchyItems",
    collection="/lookup",
    addressed=False,
    queryable=False,
    key=False,
    relations=(
        Relation("server", "BackupServer"),
        Relation("hierarchy_root", "HierarchyRoot"),
    ),
    elements=(
        Element("ObjectRef", HIERARCHY_REF, optional=True),
        Element("ObjectType", STRING, optional=True),
        Element("ObjectName", STRING, optional=True),
    ),
    default_sort="ObjectName",
    indexes=(("hierarchy_root_uid", "object_name_key"), ("object_ref_key",)),
)
