"""Backups, their files, and the points to restore from."""

from __future__ import annotations

from holdfast.schema.resource import (
    Action,
    Field,
    Link,
    Relation,
    ResourceType,
    SubCollection,
    View,
    When,
    through,
)
from holdfast.schema.resources.links import (
    UP_TO_SERVER,
    down,
    to_entity,
    to_reference,
    up,
)
from holdfast.schema.roles import RESTORERS, VM_RESTORERS
from holdfast.schema.types import (
    DATE_TIME,
    HIERARCHY_REF,
    INTEGER,
    REAL,
    STRING,
    Element,
    Enumeration,
    structure,
)

UP_TO_BACKUP = up("backup")
UP_TO_RESTORE_POINT = up("restore_point")
UP_TO_BACKUP_FILE = up("backup_file")

#: The platforms of backups that agents on the computers themselves make.
AGENT_PLATFORMS = ("AgentForLinux", "AgentForWindows")
_MADE_BY_AGENTS = ",".join(f"BackupPlatform=={platform}" for platform in AGENT_PLATFORMS)

_VM_RESTORE_POINTS = down("VmRestorePointReferenceList", "/vmRestorePoints")
_VAPP_RESTORE_POINTS = down("VAppRestorePointReferenceList", "/vAppRestorePoints")

_IS_PARENT = When("BackupType", "ParentBackup")
_IS_NO_PARENT = When("BackupType", "ParentBackup", equal=False)

ALGORITHM = Enumeration(("Full", "ReversedIncremental", "Incremental", "SyntheticFull"))
POINT_TYPE = Enumeration(("Full", "Increment", "ReverseIncrement"))

BACKUP = ResourceType(
    name="Backup",
    plural="Backups",
    collection="/backups",
    readers=RESTORERS,
    relations=(
        Relation("server", "BackupServer"),
        Relation("repository", "Repository"),
        Relation("external_repository", "ExternalRepository"),
        Relation("job", "Job"),
        Relation("parent_backup", "Backup"),
    ),
    elements=(
        Element(
            "Platform",
            Enumeration(
                ("VMware", "HyperV", "vCloud", "AgentForLinux", "AgentForWindows", "CustomPlatform")
            ),
            optional=True,
        ),
        Element("BackupType", Enumeration(("Standard", "ParentBackup", "ChildBackup"))),
    ),
    fields=(
        *through("job", "Job"),
        *through("repository", "Repository"),
        *through("server", "BackupServer"),
    ),
    links=(
        up("repository"),
        up("external_repository"),
        UP_TO_SERVER,
        to_reference("Backup"),
        # Up, although it leads to what is below.
        Link("Up", "BackupList", path="/childbackups?format=Entity", when=_IS_PARENT),
        down("RestorePointReferenceList", "/restorePoints", when=_IS_NO_PARENT),
        down("BackupFileReferenceList", "/backupFiles", when=_IS_NO_PARENT),
    ),
    reference_links=(
        UP_TO_SERVER,
        up("repository"),
        up("external_repository"),
        to_entity("Backup"),
        down("RestorePointReferenceList", "/restorePoints"),
        down("BackupFileReferenceList", "/backupFiles"),
    ),
    children=(
        SubCollection("restorePoints", "RestorePoint", "backup"),
        SubCollection("backupFiles", "BackupFile", "backup"),
        SubCollection("childbackups", "Backup", "parent_backup"),
    ),
    views=(View("/agents/backups", f"Platform=={',Platform=='.join(AGENT_PLATFORMS)}"),),
    indexes=(("repository_uid",), ("external_repository_uid",), ("parent_backup_uid",)),
)

BACKUP_FILE = ResourceType(
    name="BackupFile",
    plural="BackupFiles",
    collection="/backupFiles",
    relations=(
        Relation("server", "BackupServer"),
        Relation("backup", "Backup"),
        Relation("restore_point", "RestorePoint"),
    ),
    elements=(
        Element("FilePath", STRING),
        Element("BackupSize", INTEGER),
        Element("DataSize", INTEGER),
        Element("DeduplicationRatio", REAL),
        Element("CompressRatio", REAL),
        Element("CreationTimeUtc", DATE_TIME, field="CreationTime"),  # so spelt, here alone
        Element("FileType", Enumeration(("vbk", "vib", "vrb"))),
    ),
    fields=(
        Field("CreationTimeUTC", "CreationTimeUtc"),
        Field("BackupPlatform", "backup.Platform"),
        *through("backup", "Backup"),
        *through("server", "BackupServer"),
    ),
    links=(
        UP_TO_BACKUP,
        UP_TO_SERVER,
        to_reference("BackupFile"),
        # Typed so in the API, although restore points are what it leads to.
        Link("Related", "BackupFileReferenceList", path="/restorePoints"),
        _VM_RESTORE_POINTS,
    ),
    reference_links=(
        UP_TO_SERVER,
        UP_TO_BACKUP,
        to_entity("BackupFile"),
        Link("Related", "BackupFileReferenceList", path="/restorePoints"),
        _VM_RESTORE_POINTS,
    ),
    children=(
        SubCollection("restorePoints", "RestorePoint", through="restore_point"),
        SubCollection("vmRestorePoints", "VmRestorePoint", "backup_file"),
    ),
    views=(View("/agents/backupFiles", _MADE_BY_AGENTS),),
    indexes=(("backup_uid",), ("restore_point_uid",)),
)

RESTORE_POINT = ResourceType(
    name="RestorePoint",
    plural="RestorePoints",
    collection="/restorePoints",
    readers=RESTORERS,
    relations=(Relation("server", "BackupServer"), Relation("backup", "Backup")),
    elements=(Element("BackupDateUTC", DATE_TIME, field="CreationTime"),),
    fields=(
        Field("BackupPlatform", "backup.Platform"),
        *through("backup", "Backup"),
        *through("server", "BackupServer"),
    ),
    links=(
        UP_TO_BACKUP,
        UP_TO_SERVER,
        to_reference("RestorePoint"),
        _VM_RESTORE_POINTS,
        _VAPP_RESTORE_POINTS,
        # Typed so in the API, although backup files are what it leads to.
        Link("Related", "RestorePointReferenceList", path="/backupFiles"),
    ),
    reference_links=(
        UP_TO_SERVER,
        UP_TO_BACKUP,
        to_entity("RestorePoint"),
        _VM_RESTORE_POINTS,
        Link("Related", "RestorePointReferenceList", path="/backupFiles"),
    ),
    children=(
        SubCollection("vmRestorePoints", "VmRestorePoint", "restore_point"),
        SubCollection("vAppRestorePoints", "VAppRestorePoint", "restore_point"),
        SubCollection("agentRestorePoints", "AgentRestorePoint", "restore_point"),
        SubCollection("backupFiles", "BackupFile", "restore_point"),
    ),
    views=(View("/agents/restorePoints", _MADE_BY_AGENTS),),
    indexes=(("backup_date_utc",), ("backup_uid",)),
    default_sort="CreationTime",
    newest_first=True,
)

_SQL_INFO = structure(
    Element(
        "Databases",
        structure(
            Element(
                "Database",
                structure(
                    Element(
                        "Items",
                        structure(
                            Element("Item", structure(), repeated=True, json_name="Items"),
                        ),
                    ),
                ),
                repeated=True,
                json_name="Databases",
            ),
        ),
    ),
)

VM_RESTORE_POINT = ResourceType(
    name="VmRestorePoint",
    plural="VmRestorePoints",
    collection="/vmRestorePoints",
    readers=RESTORERS,
    attributes=(Element("VmDisplayName", STRING),),
    relations=(
        Relation("server", "BackupServer"),
        Relation("restore_point", "RestorePoint"),
        Relation("backup_file", "BackupFile"),
    ),
    elements=(
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("VmName", STRING, optional=True),
        Element("Algorithm", ALGORITHM),
        Element("PointType", POINT_TYPE, field="Type"),
        Element("HierarchyObjRef", HIERARCHY_REF, optional=True),
        Element("SqlInfo", _SQL_INFO, optional=True),
    ),
    stored=(
        Element("Damaged", STRING, optional=True),
        Element("KeptFor", STRING, optional=True),
        Element("Encryption", STRING, optional=True),
    ),
    fields=(
        Field("RestorePointId", "restore_point.UID"),
        *through("restore_point", "RestorePoint"),
        *through("server", "BackupServer"),
    ),
    links=(
        Link("Restore", path="?action=restore"),
        UP_TO_SERVER,
        UP_TO_RESTORE_POINT,
        UP_TO_BACKUP_FILE,
        to_reference("VmRestorePoint"),
        down("VmRestorePointMountList", "/mounts"),
        Link("Create", "VmRestorePointMount", path="/mounts"),
    ),
    actions=(Action("restore", "StartVMRestore", VM_RESTORERS, body="RestoreSpec"),),
    reference_links=(
        UP_TO_SERVER,
        UP_TO_RESTORE_POINT,
        UP_TO_BACKUP_FILE,
        to_entity("VmRestorePoint"),
    ),
    indexes=(
        ("creation_time_utc",),
        ("restore_point_uid",),
        ("backup_file_uid",),
        ("vm_display_name_key", "creation_time_utc"),
    ),
    default_sort="CreationTime",
    newest_first=True,
)

VAPP_RESTORE_POINT = ResourceType(
    name="VAppRestorePoint",
    plural="VAppRestorePoints",
    collection="/vAppRestorePoints",
    readers=RESTORERS,
    attributes=(Element("VAppDisplayName", STRING),),
    relations=(
        Relation("server", "BackupServer"),
        Relation("restore_point", "RestorePoint"),
    ),
    elements=(
        Element("CreationTimeUTC", DATE_TIME, field="CreationTime"),
        Element("VAppName", STRING),
        Element("Algorithm", ALGORITHM),
        Element("PointType", POINT_TYPE, field="Type"),
        Element("HierarchyObjRef", HIERARCHY_REF, optional=True),
    ),
    fields=(Field("RestorePointId", "restore_point.UID"), *through("server", "BackupServer")),
    links=(UP_TO_SERVER, UP_TO_RESTORE_POINT, to_reference("VAppRestorePoint")),
    reference_links=(UP_TO_SERVER, UP_TO_RESTORE_POINT, to_entity("VAppRestorePoint")),
    indexes=(("creation_time_utc",), ("restore_point_uid",)),
    default_sort="CreationTime",
    newest_first=True,
)
