"""Computers that are backed up by an agent of their own: groups, jobs, points."""

from __future__ import annotations

from holdfast.schema.resource import (
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    through,
)
from holdfast.schema.resources.guest_processing import GUEST_PROCESSING_OPTIONS
from holdfast.schema.resources.links import UP_TO_SERVER, down, to_entity, to_reference, up
from holdfast.schema.resources.restore_points import (
    AGENT_PLATFORMS,
    UP_TO_BACKUP_FILE,
    UP_TO_RESTORE_POINT,
)
from holdfast.schema.resources.schedules import (
    GFS_RETENTION_POLICY,
    SCHEDULE_OPTIONS,
    SIMPLE_RETENTION_POLICY,
)
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.schema.types import (
    BOOLEAN,
    DATE_TIME,
    GUID,
    HIERARCHY_REF,
    HREF,
    STRING,
    Element,
    Enumeration,
    structure,
)

_OBJECT_ELEMENTS = (
    Element("ObjectInJobId", GUID),
    Element("Name", STRING),
    Element("DisplayName", STRING),
    Element("GuestProcessingOptions", GUEST_PROCESSING_OPTIONS, optional=True),
)

AGENT_BACKUP_JOB = ResourceType(
    name="AgentBackupJob",
    plural="AgentBackupJobs",
    container="AgentBackupJob",
    collection="/agents/jobs",
    readers=ADMINISTRATOR,
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("JobType", Enumeration(("AgentBackup",))),
        Element("Platform", Enumeration(AGENT_PLATFORMS)),
        Element("Description", STRING),
        Element("ScheduleConfigured", BOOLEAN),
        Element("ScheduleEnabled", BOOLEAN),
        Element("NextRun", DATE_TIME, optional=True),
        Element("JobScheduleOptions", SCHEDULE_OPTIONS, optional=True),
        Element(
            "JobInfo",
            structure(
                Element(
                    "Includes",
                    structure(
                        Element(
                            "ObjectInAgentBackupJob",
                            structure(
                                *_OBJECT_ELEMENTS,
                                attributes=(Element("Type", STRING), Element("Href", HREF)),
                            ),
                            repeated=True,
                            json_name="ObjectInAgentBackupJobs",
                        )
                    ),
                ),
                Element("GuestProcessingOptions", GUEST_PROCESSING_OPTIONS, optional=True),
                Element("GfsRetentionPolicy", GFS_RETENTION_POLICY, optional=True),
                Element("SimpleRetentionPolicy", SIMPLE_RETENTION_POLICY, optional=True),
            ),
            optional=True,
        ),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        # Typed so in the API.
        Link("Alternate", "JobReference", path="", named=True),
        down("ObjectInJobList", "/includes"),
        down("BackupJobSessionReferenceList", "/backupSessions"),
    ),
    reference_links=(UP_TO_SERVER, to_entity("AgentBackupJob")),
    children=(
        SubCollection("includes", "ObjectInAgentBackupJob", "job"),
        SubCollection("backupSessions", "BackupJobSession", "job"),
    ),
)

OBJECT_IN_AGENT_BACKUP_JOB = ResourceType(
    name="ObjectInAgentBackupJob",
    plural="ObjectsInAgentBackupJob",
    collection="/includes",
    key=False,
    identifier="ObjectInJobId",
    parent="job",
    readers=ADMINISTRATOR,
    relations=(
        Relation("job", "AgentBackupJob"),
        Relation("file_server", "FileServer"),
        Relation("server", "BackupServer"),
    ),
    elements=_OBJECT_ELEMENTS,
    fields=(
        Field("UID", "ObjectInJobId"),
        *through("job", "Job"),
        *through("file_server", "FileServer"),
        *through("server", "BackupServer"),
    ),
)

AGENT_RESTORE_POINT = ResourceType(
    name="AgentRestorePoint",
    plural="AgentRestorePoints",
    collection="/agents/agentRestorePoints",
    relations=(
        Relation("server", "BackupServer"),
        Relation("restore_point", "RestorePoint"),
        Relation("backup_file", "BackupFile"),
    ),
    elements=(
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("Algorithm", Enumeration(("Full", "Incremental", "SyntheticFull"))),
        Element("PointType", Enumeration(("Full", "Increment")), field="Type"),
    ),
    stored=(Element("ComputerName", STRING),),
    fields=(
        Field("ComputerName", "ComputerName"),
        Field("RestorePointId", "restore_point.UID"),
        *through("restore_point", "RestorePoint"),
        *through("restore_point.backup", "Backup"),
        *through("backup_file", "BackupFile"),
        *through("server", "BackupServer"),
    ),
    links=(
        UP_TO_SERVER,
        UP_TO_RESTORE_POINT,
        UP_TO_BACKUP_FILE,
        to_reference("AgentRestorePoint"),
    ),
    reference_links=(
        UP_TO_SERVER,
        UP_TO_RESTORE_POINT,
        UP_TO_BACKUP_FILE,
        to_entity("AgentRestorePoint"),
    ),
    indexes=(
        ("creation_time_utc",),
        ("restore_point_uid",),
        ("computer_name_key", "creation_time_utc"),
    ),
    default_sort="CreationTime",
    newest_first=True,
)

AGENT_PROTECTION_GROUP = ResourceType(
    name="AgentProtectionGroup",
    plural="AgentProtectionGroups",
    collection="/agents/protectionGroups",
    readers=ADMINISTRATOR,
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("RescanScheduleEnabled", BOOLEAN),
        Element("HierarchyObjRef", HIERARCHY_REF),
    ),
    fields=through("server", "BackupServer"),
    links=(
        UP_TO_SERVER,
        to_reference("AgentProtectionGroup"),
        down("DiscoveredComputerList", "/discoveredComputers?format=Entity"),
    ),
    reference_links=(
        UP_TO_SERVER,
        to_entity("AgentProtectionGroup"),
        down("DiscoveredComputerReferenceList", "/discoveredComputers"),
    ),
    children=(SubCollection("discoveredComputers", "DiscoveredComputer", "protection_group"),),
)

DISCOVERED_COMPUTER = ResourceType(
    name="DiscoveredComputer",
    plural="DiscoveredComputers",
    collection="/agents/discoveredComputers",
    readers=ADMINISTRATOR,
    relations=(
        Relation("server", "BackupServer"),
        Relation("protection_group", "AgentProtectionGroup"),
    ),
    elements=(
        Element("HostStatus", STRING),
        Element("AgentVersion", STRING),
        Element(
            "AgentStatus",
            Enumeration(("NotInstalled", "Installed", "UnsupportedOs", "Failed", "Exclude")),
        ),
        Element("OsVersion", STRING),
        Element("IpAddress", STRING),
        Element("HierarchyObjRef", HIERARCHY_REF),
    ),
    fields=(
        *through("protection_group", "ProtectionGroup"),
        *through("server", "BackupServer"),
    ),
    links=(UP_TO_SERVER, to_reference("DiscoveredComputer"), up("protection_group")),
    reference_links=(UP_TO_SERVER, to_entity("DiscoveredComputer")),
    indexes=(("protection_group_uid",),),
)
