"""Accounts of the manager, their roles, and which objects they may restore."""

from __future__ import annotations

from holdfast.schema.resource import Link, Relation, ResourceType, SubCollection
from holdfast.schema.resources.links import down
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.types import BOOLEAN, STRING, Element, Enumeration, structure

ENTERPRISE_ACCOUNT = ResourceType(
    name="EnterpriseAccount",
    plural="EnterpriseAccounts",
    collection="/security/accounts",
    queryable=False,
    readers=ADMINISTRATOR,
    elements=(
        Element("AccountType", Enumeration(("User", "Group", "ExternalUser", "ExternalGroup"))),
        Element("AllowRestoreAllVms", BOOLEAN),
        Element(
            "FlrSettings",
            structure(
                Element("FlrInplaceOnly", BOOLEAN),
                Element("FlrExtentionRestrictions", STRING),  # so spelt on the wire
            ),
            optional=True,
        ),
        Element("SqlSettings", structure(Element("DenyInPlaceRestore", BOOLEAN)), optional=True),
    ),
    links=(
        Link("Alternate", "EnterpriseAccountReference", path=""),
        down("EnterpriseAccountInRoleList", "/roles"),
        down("EnterpriseAccountHierarchyScopeList", "/scopes"),
    ),
    reference_links=(Link("Alternate", "EnterpriseAccount", path="?format=Entity"),),
    children=(
        SubCollection("roles", "EnterpriseAccountInRole", "account"),
        SubCollection("scopes", "EnterpriseAccountHierarchyScope", "account"),
    ),
)

ENTERPRISE_ROLE = ResourceType(
    name="EnterpriseRole",
    plural="EnterpriseRoles",
    collection="/security/roles",
    queryable=False,
    readers=ADMINISTRATOR,
    links=(Link("Alternate", "EnterpriseRoleReference", path=""),),
    reference_links=(Link("Alternate", "EnterpriseRole", path="?format=Entity"),),
)

ENTERPRISE_ACCOUNT_IN_ROLE = ResourceType(
    name="EnterpriseAccountInRole",
    plural="EnterpriseAccountInRoleList",
    collection="/roles",
    queryable=False,
    key=False,
    typed=False,
    parent="account",
    readers=ADMINISTRATOR,
    relations=(Relation("account", "EnterpriseAccount"), Relation("role", "EnterpriseRole")),
    elements=(Element("RoleName", STRING),),
    default_sort="RoleName",
)

ENTERPRISE_ACCOUNT_HIERARCHY_SCOPE = ResourceType(
    name="EnterpriseAccountHierarchyScope",
    plural="EnterpriseAccountHierarchyScopes",
    collection="/scopes",
    queryable=False,
    key=False,
    typed=False,
    parent="account",
    readers=ADMINISTRATOR,
    relations=(
        Relation("account", "EnterpriseAccount"),
        Relation("hierarchy_root", "HierarchyRoot"),
    ),
    elements=(
        Element("Name", STRING),
        Element("HierarchyRootName", STRING),
        Element("Platform", Enumeration(("VMware", "Hyperv", "vCloud"))),
        Element("HierarchyObjectType", STRING),
        Element("State", Enumeration(("Unprocessed", "Processed", "Removing"))),
    ),
)
