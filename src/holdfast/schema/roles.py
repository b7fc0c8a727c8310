"""The portal roles and the shorthand the declarations use for them."""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """What an account may be; the values are the names the API gives the roles."""

    PORTAL_ADMINISTRATOR = "Portal Administrator"
    PORTAL_USER = "Portal User"
    VM_RESTORE_OPERATOR = "VM Restore Operator"
    FILE_RESTORE_OPERATOR = "File Restore Operator"
    EXCHANGE_RESTORE_OPERATOR = "Exchange Restore Operator"
    ORACLE_RESTORE_OPERATOR = "Oracle Restore Operator"
    SQL_RESTORE_OPERATOR = "SQL Restore Operator"


ADMINISTRATOR = frozenset({Role.PORTAL_ADMINISTRATOR})
USERS = ADMINISTRATOR | {Role.PORTAL_USER}
RESTORERS = USERS | {Role.VM_RESTORE_OPERATOR, Role.FILE_RESTORE_OPERATOR}
MACHINE_RESTORERS = ADMINISTRATOR | {Role.VM_RESTORE_OPERATOR}
FILE_RESTORERS = ADMINISTRATOR | {Role.FILE_RESTORE_OPERATOR}
EVERYONE = frozenset(Role)
