"""What a job does inside the machines it backs up."""

from __future__ import annotations

from holdfast.schema.types import (
    BOOLEAN,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Structure,
    structure,
)

#: The documented three; the last one occurs as well.
_INDEXING_MODE = Enumeration(
    ("EveryFolders", "SpecifiedFolders", "ExceptSpecifiedFolders", "Disabled")
)

_PATHS = Structure(children=(Element("Path", STRING, repeated=True),), flat=True)

_INDEXING = structure(
    Element("FileSystemIndexingMode", _INDEXING_MODE),
    Element("IncludedIndexingFolders", _PATHS),
    Element("ExcludedIndexingFolders", _PATHS),
)

_SQL = structure(
    Element("TransactionLogsProcessing", Enumeration(("OnlyOnSuccessJob", "Backup"))),
    Element("BackupLogsFrequencyMin", INTEGER, optional=True),
    Element("UseDbBackupRetention", BOOLEAN, optional=True),
    Element("RetainDays", INTEGER, optional=True),
)

_ORACLE = structure(
    Element("BackupLogsEnabled", BOOLEAN),
    Element("BackupLogsFrequencyMin", INTEGER, optional=True),
    Element("UseDbBackupRetention", BOOLEAN, optional=True),
    Element("RetainDays", INTEGER, optional=True),
    Element("ArchivedLogsTruncation", Enumeration(("ByAge", "BySize"))),
    Element("ArchivedLogsMaxAgeHours", INTEGER, optional=True),
    Element("ArchivedLogsMaxSizeMb", INTEGER, optional=True),
    Element("SysdbaCredsId", STRING),
    Element("ProxyAutoSelect", BOOLEAN),
)

_FILE_EXCLUSION = structure(
    Element("BackupScope", INTEGER),
    Element("IncludeList", _PATHS),
    Element("ExcludeList", _PATHS),
)

GUEST_PROCESSING_OPTIONS = structure(
    # The first five are from older versions; their place is kept.
    Element("AppAwareProcessingMode", STRING, optional=True),
    Element("FileSystemIndexingMode", _INDEXING_MODE, optional=True),
    Element("IncludedIndexingFolders", _PATHS, optional=True),
    Element("ExcludedIndexingFolders", _PATHS, optional=True),
    Element("CredentialsId", STRING, optional=True),
    Element(
        "VssSnapshotOptions",
        structure(
            Element(
                "VssSnapshotMode", Enumeration(("RequireSuccess", "IgnoreFailures", "Disabled"))
            ),
            Element("IsCopyOnly", BOOLEAN, optional=True),
            Element("UsePersistentGuestAgent", BOOLEAN, optional=True),
        ),
        optional=True,
    ),
    Element("WindowsGuestFSIndexingOptions", _INDEXING, optional=True),
    Element("LinuxGuestFSIndexingOptions", _INDEXING, optional=True),
    Element("SqlBackupOptions", _SQL, optional=True),
    Element("WindowsCredentialsId", STRING, optional=True),
    Element("LinuxCredentialsId", STRING, optional=True),
    Element("FSFileExcludeOptions", _FILE_EXCLUSION, optional=True),
    Element("OracleBackupOptions", _ORACLE, optional=True),
)
