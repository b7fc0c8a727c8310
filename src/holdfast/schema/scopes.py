"""What scopes of restore limit: how a row of a type is tied to an object of a hierarchy.

An account that may not restore everything sees and restores only what its scopes cover. Types that
are not listed hold nothing that could be restored and are not limited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Tie:
    """One way from a row to an object. Exactly one of these is set.

    - `value`: a value of the row is the object's reference.
    - `relation`: the row is tied as the row at the end of this relation is.
    - `below`: it is tied as any row of this type (first) whose relation (second) is this row.
    """

    value: str | None = None
    relation: str | None = None
    below: tuple[str, str] | None = None


#: By type. A row is in a scope when one of its ties is; without any tie it is in none.
TIES: Mapping[str, tuple[Tie, ...]] = {
    "VmRestorePoint": (Tie(value="HierarchyObjRef"),),
    "VAppRestorePoint": (Tie(value="HierarchyObjRef"),),
    "RestorePoint": (
        Tie(below=("VmRestorePoint", "restore_point")),
        Tie(below=("VAppRestorePoint", "restore_point")),
    ),
    "BackupFile": (Tie(below=("VmRestorePoint", "backup_file")),),
    "Backup": (Tie(below=("RestorePoint", "backup")),),
    "CatalogVm": (Tie(below=("CatalogVmRestorePoint", "vm")),),
    "CatalogVmRestorePoint": (Tie(relation="point"),),
    "BackupTaskSession": (Tie(value="VmUid"),),
    "RestoreSession": (Tie(relation="point"),),
    # The API ties these to no object: nobody can tell whether a scope covers them.
    "FailoverPlan": (),
    "ReplicaTaskSession": (),
    "Replica": (),
    "VmReplicaPoint": (),
    "VAppReplicaPoint": (),
    "AgentRestorePoint": (),
}
