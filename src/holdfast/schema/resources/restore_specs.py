"""The bodies of requests that restore."""

from __future__ import annotations

from holdfast.schema.types import (
    BOOLEAN,
    DATE_TIME,
    HIERARCHY_REF,
    STRING,
    Element,
    Structure,
    Uid,
    structure,
)


def _optional(name: str, children: tuple[Element, ...], *, repeated: bool = False) -> Element:
    return Element(name, structure(*children), optional=True, repeated=repeated)


_FLAG = Element("PowerOnAfterRestore", BOOLEAN, optional=True)
_ROOT = Element("HierarchyRootUid", Uid("HierarchyRoot"), optional=True)
_WHERE = (
    Element("VmRestorePointUid", Uid("VmRestorePoint"), optional=True),
    Element("VmNewName", STRING, optional=True),
    Element("DatastoreRef", HIERARCHY_REF, optional=True),
    Element("OrgVdcStorageProfileRef", HIERARCHY_REF, optional=True),
    Element("LinkedCloneVmTemplateRef", HIERARCHY_REF, optional=True),
)
_ACCOUNT = (
    Element("UserName", STRING, optional=True),
    Element("Password", STRING, optional=True),
)

RESTORE_SPEC = Element(
    "RestoreSpec",
    structure(
        _optional(
            "VmRestoreSpec",
            (
                _FLAG,
                # The table of the documentation names it so; its examples do not.
                Element("PowerOnAfter", BOOLEAN, optional=True),
                _ROOT,
                Element("QuickRollback", BOOLEAN, optional=True),
                Element("KeepOriginalVM", BOOLEAN, optional=True),
                _optional("VmRestoreParameters", _WHERE),
            ),
        ),
        _optional(
            "vCloudVmRestoreSpec",
            (
                _FLAG,
                _ROOT,
                Element("vAppRef", HIERARCHY_REF, optional=True),
                _optional("VmRestoreParameters", _WHERE),
            ),
        ),
        _optional(
            "vCloudVAppRestoreSpec",
            (
                _FLAG,
                _ROOT,
                Element("OrgVdcRef", HIERARCHY_REF, optional=True),
                Element("vAppNewName", STRING, optional=True),
                _optional("VmsRestoreParameters", (_optional("Vm", _WHERE, repeated=True),)),
            ),
        ),
        _optional(
            "SqlItemRestoreSpec",
            (
                Element("IsRestoreToOriginal", BOOLEAN, optional=True),
                *(
                    Element(name, STRING, optional=True)
                    for name in ("ServerName", "VmName", "InstanceName", "FamilyUid")
                ),
                _optional(
                    "Credentials",
                    (
                        _optional("SqlCredentials", _ACCOUNT),
                        _optional("ServerCredentials", _ACCOUNT),
                        _optional("UserCredentials", _ACCOUNT),
                        Element("UseSqlAuth", BOOLEAN, optional=True),
                    ),
                ),
                *(
                    Element(name, STRING, optional=True)
                    for name in ("DatabaseName", "SourceDatabaseName", "SourceInstanceName")
                ),
                Element("RestoreToDate", DATE_TIME, optional=True),
            ),
        ),
    ),
)

FILE_RESTORE_SPEC = Element(
    "FileRestoreSpec",
    structure(
        Element(
            "ToOriginalLocation",
            Structure(
                attributes=(Element("Overwrite", BOOLEAN, optional=True),),
                children=(
                    _optional("GuestCredentials", _ACCOUNT),
                    Element("PermissionsOnly", BOOLEAN, optional=True),
                ),
            ),
            optional=True,
        ),
        _optional("ForDirectDownload", ()),
    ),
)
