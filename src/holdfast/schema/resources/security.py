"""Accounts of the manager, their roles, and which objects they may restore."""

from __future__ import annotations

from uuid import UUID

from holdfast.schema.resource import Link, Relation, ResourceType, SubCollection
from holdfast.schema.resources.links import down
from holdfast.schema.roles import ADMINISTRATOR, Role
from holdfast.schema.types import (
    BOOLEAN,
    HIERARCHY_REF,
    STRING,
    Element,
    Enumeration,
    Structure,
    Uid,
    structure,
)

#: The UIDs of the roles, the same everywhere.
ROLE_UIDS = {
    Role.PORTAL_ADMINISTRATOR: UUID("5f37a46b-9ce2-40f4-8a62-b45b079257fc"),
    Role.PORTAL_USER: UUID("d19a3d33-cb77-4ffe-94e6-001432483a4e"),
    Role.VM_RESTORE_OPERATOR: UUID("c11c0c38-ba8b-49c7-bf70-fc2058fff1e2"),
    Role.FILE_RESTORE_OPERATOR: UUID("f84a8b62-49b8-4d0c-b25b-92321b52bab6"),
    Role.EXCHANGE_RESTORE_OPERATOR: UUID("f83e4c81-0815-452f-9377-9d573dd9d481"),
    Role.ORACLE_RESTORE_OPERATOR: UUID("e9d90e66-b6d4-49dc-8986-73cf33489623"),
    Role.SQL_RESTORE_OPERATOR: UUID("f78a92b8-9f06-4f1e-b522-4f0927cabd0f"),
}

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
        Link("Create", "EnterpriseAccountInRole", path="/roles"),
        down("EnterpriseAccountHierarchyScopeList", "/scopes"),
        Link("Create", "EnterpriseAccountHierarchyScope", path="/scopes"),
        Link("Delete", path=""),
        Link("ToggleRestoreScopesEnabled", path=""),
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
    links=(Link("Delete", path=""),),
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
    # What was asked for, and the pattern of references that it comes to, once that is known.
    stored=(
        Element("HierarchyObjRef", HIERARCHY_REF),
        Element("Covers", STRING, optional=True),
    ),
    links=(Link("Delete", "EnterpriseAccountHierarchyScope", path=""),),
)

_SCOPE_ITEM = Element(
    "HierarchyScopeItem",
    structure(
        Element("HierarchyObjRef", HIERARCHY_REF, optional=True),
        Element("ObjectName", STRING, optional=True),
    ),
    repeated=True,
    json_name="HierarchyScopeItems",
)

ACCOUNT_CREATE_SPEC = Element(
    "EnterpriseAccountCreateSpec",
    structure(
        Element("AccountType", Enumeration(("User", "Group", "ExternalUser", "ExternalGroup"))),
        Element("AccountName", STRING),
        Element(
            "Roles",
            Structure(
                (
                    Element(
                        "EnterpriseRole",
                        structure(Element("EnterpriseRoleUid", Uid("EnterpriseRole"))),
                        repeated=True,
                        json_name="EnterpriseRoles",
                    ),
                ),
                flat=True,
            ),
        ),
        Element("AllowRestoreAllVms", BOOLEAN),
        Element("HierarchyScopeObjects", Structure((_SCOPE_ITEM,), flat=True), optional=True),
    ),
)

ACCOUNT_IN_ROLE_CREATE_SPEC = Element(
    "EnterpriseAccountInRoleCreateSpec",
    structure(Element("EnterpriseRoleUid", Uid("EnterpriseRole"))),
)

HIERARCHY_SCOPE_CREATE_SPEC = Element(
    "HierarchyScopeCreateSpec", Structure((_SCOPE_ITEM,), flat=True)
)

REBUILD_SCOPE_JOB_SPEC = Element(
    "RebuildScopeJobSpec",
    structure(
        Element("RebuildAll", structure(), optional=True),
        Element("RebuildUnprocessed", structure(), optional=True),
        Element("RebuildForCurrentUser", structure(), optional=True),
    ),
)
