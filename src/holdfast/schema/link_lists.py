"""The link lists of documents that are no rows: the logon session and the services.

Each list is in the documented order. Shown is what the one who asks may follow.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Leading:
    """A link to a fixed address of the API."""

    rel: str
    type: str | None
    path: str
    name: str | None = None


def _lists(*collections: tuple[str, str]) -> tuple[Leading, ...]:
    """Given types and addresses of collections, return links to their references."""
    return tuple(Leading("Down", f"{kind}ReferenceList", path) for kind, path in collections)


def _entities(*collections: tuple[str, str]) -> tuple[Leading, ...]:
    """Given types and addresses of collections, return links to their entities."""
    return tuple(
        Leading("Down", f"{kind}List", f"{path}?format=Entity") for kind, path in collections
    )


def _both(*collections: tuple[str, str]) -> tuple[Leading, ...]:
    """Given types and addresses of collections, return links to references, then to entities."""
    return _lists(*collections) + _entities(*collections)


_BACKUPS = (
    ("FailoverPlan", "/failoverPlans"),
    ("HierarchyRoot", "/hierarchyRoots"),
    ("Repository", "/repositories"),
    ("Backup", "/backups"),
    ("RestorePoint", "/restorePoints"),
    ("VmRestorePoint", "/vmRestorePoints"),
    ("VAppRestorePoint", "/vAppRestorePoints"),
    ("Replica", "/replicas"),
    ("VmReplicaPoint", "/vmReplicaPoints"),
    ("CatalogVm", "/catalog/vms"),
    ("BackupJobSession", "/backupSessions"),
    ("RestoreSession", "/restoreSessions"),
    ("ReplicaJobSession", "/replicaSessions"),
    ("BackupTaskSession", "/backupTaskSessions"),
    ("ReplicaTaskSession", "/replicaTaskSessions"),
)
_WAN_ACCELERATORS = ("WanAccelerator", "/wanAccelerators")
_BACKUP_FILES = ("BackupFile", "/backupFiles")
_EXTERNAL_REPOSITORIES = ("ExternalRepository", "/externalRepositories")
_LATER = (
    ("CdpPolicy", "/cdpPolicies"),
    ("CdpReplicaSession", "/cdpReplicaSessions"),
    ("CdpReplicaTaskSession", "/cdpReplicaTaskSessions"),
    ("VAppReplicaPoint", "/vAppReplicaPoints"),
    ("VmCdpReplica", "/cdpReplica/vms"),
    ("VAppCdpReplica", "/cdpReplica/vApps"),
    # So typed on the wire, whatever they hold.
    ("BackupJobSession", "/systemSessions"),
)

#: Of a logon session, between the link to the entry point and the one that logs off.
LOGON_SESSION = (
    *_lists(("BackupServer", "/backupServers"), ("ManagedServer", "/managedServers")),
    *_lists(("Job", "/jobs"), *_BACKUPS),
    Leading("Down", "EnterpriseSecuritySettings", "/security"),
    *_lists(_WAN_ACCELERATORS, _BACKUP_FILES, _EXTERNAL_REPOSITORIES, *_LATER),
    Leading("Down", "TaskList", "/tasks"),
    Leading("Down", "QueryService", "/querySvc"),
    Leading("Down", "LookupService", "/lookupSvc"),
    Leading("Down", "Report", "/reports/summary", "summary"),
    *_entities(("BackupServer", "/backupServers"), ("ManagedServer", "/managedServers")),
    Leading("Create", None, "/backupServers?action=create"),
    *_entities(("Job", "/jobs"), *_BACKUPS, _WAN_ACCELERATORS),
    Leading("Down", "VCloudService", "/vCloud"),
    *_entities(_BACKUP_FILES),
    Leading("Down", "AgentsService", "/agents"),
    Leading("Down", "VSphereSelfService", "/selfService/vSphere"),
    *_entities(_EXTERNAL_REPOSITORIES),
    Leading("Down", "NasService", "/nas"),
    *_entities(*_LATER),
)

#: After the link that logs off.
LOGON_SESSION_END = (Leading("Down", "CloudConnectService", "/cloud"),)


@dataclass(frozen=True)
class LinkService:
    """A document of links alone. `type` and the Href are shown where the API shows them."""

    root: str
    path: str
    links: tuple[Leading, ...]
    type: str | None = None
    href: bool = True
    up: bool = False


SERVICES = (
    LinkService(
        "Agents",
        "/agents",
        _both(
            ("Job", "/agents/jobs"),
            ("AgentRestorePoint", "/agents/agentRestorePoints"),
            ("Backup", "/agents/backups"),
            ("RestorePoint", "/agents/restorePoints"),
            # So typed on the wire.
            ("RestorePoint", "/agents/backupFiles"),
            ("BackupJobSession", "/agents/backupSessions"),
            ("AgentProtectionGroup", "/agents/protectionGroups"),
            ("DiscoveredComputer", "/agents/discoveredComputers"),
        ),
        type="AgentsService",
    ),
    LinkService(
        "NASService",
        "/nas",
        _both(
            ("Job", "/nas/jobs"),
            ("FileServer", "/nas/fileServers"),
            ("BackupJobSession", "/nas/backupSessions"),
        ),
        href=False,
    ),
    LinkService(
        "CloudConnectService",
        "/cloud",
        _both(
            ("CloudGateway", "/cloud/gateways"),
            ("CloudTenant", "/cloud/tenants"),
            ("CloudHardwarePlan", "/cloud/hardwarePlans"),
            ("CloudPublicIpAddress", "/cloud/publicIpAddresses"),
            ("CloudFailoverPlan", "/cloud/cloudFailoverPlans"),
            ("CloudVmReplicaPoint", "/cloud/vmReplicaPoints"),
            ("CloudReplica", "/cloud/replicas"),
            ("VlanConfiguration", "/cloud/vlans"),
            ("CloudFailoverSession", "/cloud/failoverSessions"),
            ("CloudGatewayPool", "/cloud/gatewayPools"),
        ),
        type="CloudConnectService",
        up=True,
    ),
    LinkService(
        "VCloudService",
        "/vCloud",
        (
            *_both(("VCloudOrganizationConfig", "/vCloud/orgConfigs")),
            Leading("Create", None, "/vCloud/orgConfigs"),
        ),
    ),
    LinkService(
        "VSphereSelfService",
        "/selfService/vSphere",
        (
            *_both(("VSphereSelfServiceConfig", "/selfService/vSphere/Configs")),
            Leading("Create", None, "/selfService/vSphere/Configs"),
        ),
    ),
    LinkService(
        "EnterpriseSecuritySettings",
        "/security",
        (
            *_lists(("EnterpriseAccount", "/security/accounts")),
            *_lists(("EnterpriseRole", "/security/roles")),
            Leading("Create", None, "/security/accounts"),
            Leading("Start", None, "/security/accounts?action=rebuildScope"),
        ),
    ),
)
