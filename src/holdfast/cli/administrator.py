"""The administrator's account: made at the first start, known again at later ones."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from holdfast.cli.passwords import ADMINISTRATOR, generate
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.logon_failures import LogonRefused
from holdfast.schema.roles import Role

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Administrator:
    """Who may log on. `password` is None when this process does not know it.

    `generated` tells that the password was made just now and nobody has seen it.
    """

    user: str
    password: str | None
    generated: bool


async def ensure(manager: EnterpriseManager, supplied: str | None) -> Administrator:
    """Given a password from the settings or None, return the administrator; make it if needed.

    A later start does not change the password. One that is not accepted then is no reason to stay
    down: it is logged, and treated as not known.
    """
    accounts = manager.accounts
    if not await accounts.exist():
        password = supplied or generate()
        await accounts.create(ADMINISTRATOR, password, Role.PORTAL_ADMINISTRATOR)
        return Administrator(ADMINISTRATOR, password, generated=supplied is None)
    if supplied is not None:
        try:
            await accounts.authenticate(ADMINISTRATOR, supplied, "holdfast up")
        except LogonRefused as error:
            _log.warning("The password given for %s was not accepted: %s", ADMINISTRATOR, error)
            supplied = None
    return Administrator(ADMINISTRATOR, supplied, generated=False)
