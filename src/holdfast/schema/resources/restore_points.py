"""Backups, their files, and the points to restore from."""

from __future__ import annotations

from holdfast.schema.resource import Field, Link, Relation, ResourceType, SubCollection, through
from holdfast.schema.resources.infrastructure import UP_TO_SERVER
from holdfast.schema.roles import RESTORERS
from holdfast.schema.types import (
    DATE_TIME,
    HIERARCHY_REF,
    INTEGER,
    REAL,
    STRING,
    Element,
    Enumeration,
)

UP_TO_BACKUP = Link("Up", relation="backup", named=True)

BACKUP = ResourceType(
    name="Backup",
    plural="Backups",
    collection="/backups",
    readers=RESTORERS,
    relations=(
        Relation("server", "BackupServer"),
        Relation("repository", "Repository"),
        Relation("job", "Job"),
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
        Link("Up", relation="repository", named=True),
        UP_TO_SERVER,
        Link("Alternate", "BackupReference", path="", named=True),
        Link("Down", "RestorePointReferenceList", path="/restorePoints"),
        Link("Down", "BackupFileReferenceList", path="/backupFiles"),
    ),
    reference_links=(
        UP_TO_SERVER,
        Link("Up", relation="repository", named=True),
        Link("Alternate", "Backup", path="?format=Entity", named=True),
        Link("Down", "RestorePointReferenceList", path="/restorePoints"),
        Link("Down", "BackupFileReferenceList", path="/backupFiles"),
    ),
    children=(
        SubCollection("restorePoints", "RestorePoint", "backup"),
        SubCollection("backupFiles", "BackupFile", "backup"),
    ),
    indexes=(("repository_uid",),),
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
        *through("backup", "Backup"),
        *through("server", "BackupServer"),
    ),
    links=(
        UP_TO_BACKUP,
        UP_TO_SERVER,
        Link("Alternate", "BackupFileReference", path="", named=True),
        # Typed so in the API, although restore points are what it leads to.
        Link("Related", "BackupFileReferenceList", path="/restorePoints"),
        Link("Down", "VmRestorePointReferenceList", path="/vmRestorePoints"),
    ),
    reference_links=(
        UP_TO_SERVER,
        UP_TO_BACKUP,
        Link("Alternate", "BackupFile", path="?format=Entity", named=True),
        Link("Related", "BackupFileReferenceList", path="/restorePoints"),
        Link("Down", "VmRestorePointReferenceList", path="/vmRestorePoints"),
    ),
    children=(
        SubCollection("restorePoints", "RestorePoint", through="restore_point"),
        SubCollection("vmRestorePoints", "VmRestorePoint", "backup_file"),
    ),
    indexes=(("backup_uid",), ("restore_point_uid",)),
)

RESTORE_POINT = ResourceType(
    name="RestorePoint",
    plural="RestorePoints",
    collection="/restorePoints",
    readers=RESTORERS,
    relations=(Relation("server", "BackupServer"), Relation("backup", "Backup")),
    elements=(Element("BackupDateUTC", DATE_TIME, field="CreationTime"),),
    fields=(*through("backup", "Backup"), *through("server", "BackupServer")),
    links=(
        UP_TO_BACKUP,
        UP_TO_SERVER,
        Link("Alternate", "RestorePointReference", path="", named=True),
        Link("Down", "VmRestorePointReferenceList", path="/vmRestorePoints"),
        # Typed so in the API, although backup files are what it leads to.
        Link("Related", "RestorePointReferenceList", path="/backupFiles"),
    ),
    reference_links=(
        UP_TO_SERVER,
        UP_TO_BACKUP,
        Link("Alternate", "RestorePoint", path="?format=Entity", named=True),
        Link("Down", "VmRestorePointReferenceList", path="/vmRestorePoints"),
        Link("Related", "RestorePointReferenceList", path="/backupFiles"),
    ),
    children=(
        SubCollection("vmRestorePoints", "VmRestorePoint", "restore_point"),
        SubCollection("backupFiles", "BackupFile", "restore_point"),
    ),
    indexes=(("backup_date_utc",), ("backup_uid",)),
    default_sort="CreationTime",
    newest_first=True,
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
        Element(
            "Algorithm",
            Enumeration(("Full", "ReversedIncremental", "Incremental", "SyntheticFull")),
        ),
        Element("PointType", Enumeration(("Full", "Increment", "ReverseIncrement")), field="Type"),
        Element("HierarchyObjRef", HIERARCHY_REF, optional=True),
    ),
    fields=(
        Field("RestorePointId", "restore_point.UID"),
        *through("restore_point", "RestorePoint"),
        *through("server", "BackupServer"),
    ),
    links=(
        UP_TO_SERVER,
        Link("Up", relation="restore_point", named=True),
        Link("Up", relation="backup_file", named=True),
        Link("Alternate", "VmRestorePointReference", path="", named=True),
    ),
    reference_links=(
        UP_TO_SERVER,
        Link("Up", relation="restore_point", named=True),
        Link("Up", relation="backup_file", named=True),
        Link("Alternate", "VmRestorePoint", path="?format=Entity", named=True),
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
