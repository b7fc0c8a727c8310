"""Backup servers and what belongs to them: managed servers, hierarchy roots, repositories."""

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
from holdfast.schema.resources.links import UP_TO_SERVER, down, to_entity, to_reference
from holdfast.schema.roles import USERS
from holdfast.schema.types import BOOLEAN, INTEGER, STRING, Element, Enumeration, Structure

_JOBS = down("JobReferenceList", "/jobs")
_MANAGED_SERVERS = down("ManagedServerReferenceList", "/managedServers")
_REPOSITORIES = down("RepositoryReferenceList", "/repositories")
_EXTERNAL_REPOSITORIES = down("ExternalRepositoryReferenceList", "/externalRepositories")
_CREDENTIALS = down("CredentialsList", "/credentials")
_PASSWORDS = down("PasswordKeyList", "/passwords")
_BACKUPS = down("BackupReferenceList", "/backups")
_REPLICAS = down("ReplicaReferenceList", "/replicas")

BACKUP_SERVER = ResourceType(
    name="BackupServer",
    plural="BackupServers",
    collection="/backupServers",
    elements=(
        Element("Description", STRING),
        Element("Port", INTEGER),
        Element("Version", STRING),
        Element("WcfPort", INTEGER, optional=True),
        Element("VbrCertificateThumbprint", STRING, optional=True),
    ),
    stored=(Element("IpOrDnsName", STRING),),
    fields=(Field("IpOrDnsName", "IpOrDnsName"),),
    links=(
        to_reference("BackupServer"),
        Link("Edit", "BackupServerReference", path=""),
        Link("Delete", "BackupServerReference", path=""),
        _JOBS,
        _MANAGED_SERVERS,
        _REPOSITORIES,
        _EXTERNAL_REPOSITORIES,
        _CREDENTIALS,
        Link("Create", path="/credentials?action=create"),
        _PASSWORDS,
        Link("Create", path="/passwords?action=create"),
        Link("VeeamZip", path="?action=veeamzip"),
        Link("QuickBackup", path="?action=quickbackup"),
        Link("Start", path="?action=collect"),
    ),
    reference_links=(
        _JOBS,
        _REPOSITORIES,
        _EXTERNAL_REPOSITORIES,
        _CREDENTIALS,
        _PASSWORDS,
        to_entity("BackupServer"),
        _MANAGED_SERVERS,
    ),
    children=(
        SubCollection("jobs", "Job", "server"),
        SubCollection("managedServers", "ManagedServer", "server"),
        SubCollection("repositories", "Repository", "server"),
        SubCollection("externalRepositories", "ExternalRepository", "server"),
        SubCollection("credentials", "Credentials", "server"),
        SubCollection("passwords", "Passwords", "server"),
    ),
    actions=(
        Action("collect", "CollectingBackupServer", USERS),
        Action("quickbackup", "QuickBackup", USERS, body="QuickBackupStartupSpec"),
        Action("veeamzip", "VeeamZip", USERS, body="VeeamZipStartupSpec"),
    ),
)

#: How to reach a backup server. The older documents put Port before Username.
BACKUP_SERVER_SPEC = Element(
    "BackupServerSpec",
    Structure(
        children=(
            Element("Description", STRING, optional=True),
            Element("DnsNameOrIpAddress", STRING, optional=True),
            Element("Username", STRING, optional=True),
            Element("Port", INTEGER, optional=True),
            Element("Password", STRING, optional=True),
            Element("WcfPort", INTEGER, optional=True),
            Element("VbrCertificateThumbprint", STRING, optional=True),
        ),
        unordered=True,
    ),
)

MANAGED_SERVER = ResourceType(
    name="ManagedServer",
    plural="ManagedServers",
    collection="/managedServers",
    relations=(
        Relation("server", "BackupServer"),
        Relation("hierarchy_root", "HierarchyRoot"),
    ),
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
        to_reference("ManagedServer"),
        Link("Related", relation="hierarchy_root", entity=True, named=True),
    ),
    reference_links=(to_entity("ManagedServer"), UP_TO_SERVER),
)

HIERARCHY_ROOT = ResourceType(
    name="HierarchyRoot",
    plural="HierarchyRoots",
    collection="/hierarchyRoots",
    relations=(
        Relation("server", "BackupServer"),
        Relation("managed_server", "ManagedServer"),
    ),
    elements=(
        Element("HierarchyRootId", STRING, optional=True),
        Element("UniqueId", STRING, optional=True),
        Element(
            "HostType",
            Enumeration(("ESX", "VC", "ESXi", "HvServer", "HvCluster", "Scvmm", "VcdSystem")),
            optional=True,
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("HierarchyRoot"),
        Link("Related", relation="managed_server", entity=True, named=True),
    ),
    reference_links=(UP_TO_SERVER, to_entity("HierarchyRoot")),
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
        to_reference("Repository"),
        _BACKUPS,
        _REPLICAS,
    ),
    reference_links=(
        UP_TO_SERVER,
        to_entity("Repository"),
        _BACKUPS,
        _REPLICAS,
    ),
    children=(
        SubCollection("backups", "Backup", "repository"),
        SubCollection("replicas", "Replica", "repository"),
    ),
)

EXTERNAL_REPOSITORY = ResourceType(
    name="ExternalRepository",
    plural="ExternalRepositories",
    collection="/externalRepositories",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element(
            "RepositoryType",
            Enumeration(("AmazonS3External", "AzureStorageExternal", "GoogleCloudStorageExternal")),
        ),
        Element("Path", STRING),
        Element("UsedSpace", INTEGER),
        Element("Description", STRING),
    ),
    fields=through("server", "BackupServer"),
    links=(UP_TO_SERVER, to_reference("ExternalRepository"), _BACKUPS),
    reference_links=(UP_TO_SERVER, to_entity("ExternalRepository"), _BACKUPS),
    children=(SubCollection("backups", "Backup", "external_repository"),),
    indexes=(("server_uid",),),
)

WAN_ACCELERATOR = ResourceType(
    name="WanAccelerator",
    plural="WanAccelerators",
    collection="/wanAccelerators",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Description", STRING),
        Element("OutOfDate", BOOLEAN),
        Element("Version", STRING),
        Element("Capacity", INTEGER),
        Element("TrafficPort", INTEGER),
        Element("ConnectionsCount", INTEGER),
        Element("CachePath", STRING),
        Element("HighBandwidthModeEnabled", BOOLEAN),
    ),
    fields=through("server", "BackupServer"),
    links=(UP_TO_SERVER, to_reference("WanAccelerator")),
    reference_links=(UP_TO_SERVER, to_entity("WanAccelerator")),
)
