"""What requests say that add objects to jobs or back up single machines."""

from __future__ import annotations

from holdfast.schema.resources.guest_processing import GUEST_PROCESSING_OPTIONS
from holdfast.schema.types import (
    BOOLEAN,
    HIERARCHY_REF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Uid,
    structure,
)

CREATE_OBJECT_IN_JOB_SPEC = Element(
    "CreateObjectInJobSpec",
    structure(
        Element("HierarchyObjRef", HIERARCHY_REF),
        Element("HierarchyObjName", STRING),
        Element("GuestProcessingOptions", GUEST_PROCESSING_OPTIONS, optional=True),
    ),
)

QUICK_BACKUP_STARTUP_SPEC = Element(
    "QuickBackupStartupSpec", structure(Element("VmRef", HIERARCHY_REF))
)

VEEAM_ZIP_STARTUP_SPEC = Element(
    "VeeamZipStartupSpec",
    structure(
        Element("VmRef", HIERARCHY_REF, repeated=True, json_name="VmRefs"),
        Element("RepositoryUid", Uid("Repository")),
        Element("PasswordKeyId", STRING, optional=True),
        Element("CompressionLevel", INTEGER),
        Element("DisableGuestQuiescence", BOOLEAN, optional=True),
        Element(
            "BackupRetention",
            Enumeration(
                (
                    "Never", "Tonight", "TomorrowNight", "In3days", "In1Week", "In2Weeks",
                    "In1Month", "In3Months", "In6Months", "In1Year", "In2Years", "In3Years",
                    "In5Years", "In7Years",
                )
            ),
        ),
    ),
)  # fmt: skip
