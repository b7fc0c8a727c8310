"""Backup servers and what belongs to them: managed servers and repositories."""

from __future__ import annotations

from holdfast.schema.resource import (
    Action,
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    through,
)
from holdfast.schema.roles import USERS
from holdfast.schema.types import INTEGER, STRING, Element, Enumeration

#: The first link of nearly every resource.
UP_TO_SERVER = Link("Up", relation="server", named=True)

BACKUP_SERVER = ResourceType(
    name="BackupServer",
    plural="BackupServers",
    collection="/backupServers",
    elements=(
        Element("Description", STRING),
        Element("Port", INTEGER),
        Element("Version", STRING),
    ),
    stored=(Element("IpOrDnsName", STRING),),
    fields=(Field("IpOrDnsName", "IpOrDnsName"),),
    links=(
        Link("Alternate", "BackupServerReference", path="", named=True),
        Link("Down", "JobReferenceList", path="/jobs"),
        Link("Down", "ManagedServerReferenceList", path="/managedServers"),
        Link("Down", "RepositoryReferenceList", path="/repositories"),
        Link("Start", path="?action=collect"),
    ),
    reference_links=(
        Link("Down", "JobReferenceList", path="/jobs"),
        Link("Down", "RepositoryReferenceList", path="/repositories"),
        Link("Alternate", "BackupServer", path="?format=Entity", named=True),
        Link("Down", "ManagedServerReferenceList", path="/managedServers"),
    ),
    children=(
        SubCollection("jobs", "Job", "server"),
        SubCollection("managedServers", "ManagedServer", "server"),
        SubCollection("repositories", "Repository", "server"),
    ),
    actions=(Action("collect", "CollectingBackupServer", USERS),),
)

MANAGED_SERVER = ResourceType(
    name="ManagedServer",
    plural="ManagedServers",
    collection="/managedServers",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Description", STRING),
        Element(
            "ManagedServerType",
            Enumeration(
                (
                    "ESX",
                    "VC",
                    "Linux",
                    "Local",
                    "Windows",
                    "ESXi",
                    "HvServer",
                    "HvCluster",
                    "Scvmm",
                    "BackupServer",
                    "SanHost",
                    "SmbServer",
                    "SmbCluster",
                    "VcdSystem",
                    "Cloud",
                    "AzureWinServer",
                    "VmSnapshotStorageHost",
                    "ConfigurationService",
                    "ExternalInfrastructureProxy",
                    "NdmpServer",
                    "ExternalInfrastructureServer",
                )
            ),
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(
        Link("Up", relation="server", entity=True, named=True),
        Link("Alternate", "ManagedServerReference", path="", named=True),
    ),
    reference_links=(
        Link("Alternate", "ManagedServer", path="?format=Entity", named=True),
        UP_TO_SERVER,
    ),
)

REPOSITORY = ResourceType(
    name="Repository",
    plural="Repositories",
    collection="/repositories",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Capacity", INTEGER),
        Element("FreeSpace", INTEGER),
        Element(
            "Kind",
            Enumeration(
                (
                    "WindowsLocal",
                    "LinuxLocal",
                    "CifsShare",
                    "DDBoost",
                    "Cloud",
                    "HPStoreOnce",
                    "ExaGrid",
                    "Foreign",
                    "SanSnapshot",
                    "HPStoreOnceIntegration",
                    "Extendable",
                    "Quantum",
                    "Nfs",
                    "AmazonS3Compatible",
                )
            ),
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        Link("Alternate", "RepositoryReference", path="", named=True),
        Link("Down", "BackupReferenceList", path="/backups"),
    ),
    reference_links=(
        UP_TO_SERVER,
        Link("Alternate", "Repository", path="?format=Entity", named=True),
        Link("Down", "BackupReferenceList", path="/backups"),
    ),
    children=(SubCollection("backups", "Backup", "repository"),),
)
