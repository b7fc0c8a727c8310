"""Accounts, their roles and their scopes of restore."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.responses import Response

from holdfast.api import security_descriptions as descriptions
from holdfast.api.call import Call, not_found
from holdfast.api.errors import BadRequest, Forbidden
from holdfast.api.negotiation import sends_json
from holdfast.api.resources import Place, task_answer
from holdfast.api.routing import Router
from holdfast.manager.account import NewAccount
from holdfast.manager.account_rows import LastAdministrator, NoSuchAccount
from holdfast.manager.accounts import AccountExists
from holdfast.manager.scopes import WrongReference
from holdfast.representation.requests import read_body
from holdfast.schema.resources.security import (
    ACCOUNT_CREATE_SPEC,
    ACCOUNT_IN_ROLE_CREATE_SPEC,
    ENTERPRISE_ACCOUNT,
    HIERARCHY_SCOPE_CREATE_SPEC,
    REBUILD_SCOPE_JOB_SPEC,
    ROLE_UIDS,
)
from holdfast.schema.roles import Role
from holdfast.schema.types import Element

_ACCOUNTS = ENTERPRISE_ACCOUNT.collection
_ACCOUNT = f"{_ACCOUNTS}/{{id}}"
_REBUILD = "rebuildScope"


def add_routes(router: Router) -> None:
    """Given a router, add what the declarations of the types do not make."""
    role, scope = f"{_ACCOUNT}/roles", f"{_ACCOUNT}/scopes"
    for method, path, handler, described in (
        ("POST", _ACCOUNTS, create_account, descriptions.CREATE_ACCOUNT),
        ("POST", _ACCOUNT, toggle_restore_scopes, descriptions.TOGGLE_RESTORE_SCOPES),
        ("DELETE", _ACCOUNT, delete_account, descriptions.DELETE_ACCOUNT),
        ("POST", role, add_role, descriptions.ADD_ROLE),
        ("DELETE", f"{role}/{{item}}", remove_role, descriptions.REMOVE_ROLE),
        ("POST", scope, add_scopes, descriptions.ADD_SCOPES),
        ("DELETE", f"{scope}/{{item}}", remove_scope, descriptions.REMOVE_SCOPE),
    ):
        router.add(path, {method: handler}, describe={method: described})


async def create_account(call: Call) -> Response:
    """Make an account, or with the action start finding what all scopes cover."""
    action = call.parameter("action")
    if action is not None and action.casefold() == _REBUILD.casefold():
        return await _rebuild_scopes(call)
    if action and action.casefold() != "create":
        raise BadRequest(f"Parameter action: expected {_REBUILD}, or none to create an account.")
    wanted = await _body(call, ACCOUNT_CREATE_SPEC, "AccountType", "AccountName", "Roles")
    roles = [
        _role(item.get("EnterpriseRoleUid")) for item in wanted["Roles"].get("EnterpriseRole", ())
    ]
    new = NewAccount(
        name=_name(wanted["AccountName"]),
        roles=roles,
        kind=wanted["AccountType"],
        allow_restore_all_vms=wanted.get("AllowRestoreAllVms", False),
        scopes=[reference for reference, _ in _objects(wanted.get("HierarchyScopeObjects") or {})],
    )
    try:
        uid = await call.manager.accounts.add(new)
    except (AccountExists, WrongReference) as error:
        raise BadRequest(str(error)) from None
    return _created(call, 201, f"{_ACCOUNTS}/{uid}")


async def toggle_restore_scopes(call: Call) -> Response:
    """Let an account restore everything, or only what its scopes cover, in turns."""
    uid = await _account(call)
    try:
        await call.manager.accounts.toggle_allow_restore_all_vms(uid)
    except NoSuchAccount:
        raise not_found(ENTERPRISE_ACCOUNT, uid) from None
    return Response(status_code=204)


async def delete_account(call: Call) -> Response:
    """End an account, with its logon sessions."""
    uid = await _account(call)
    try:
        await call.manager.accounts.remove(uid)
    except NoSuchAccount:
        raise not_found(ENTERPRISE_ACCOUNT, uid) from None
    except LastAdministrator as error:
        raise Forbidden(str(error)) from None
    return Response(status_code=204)


async def add_role(call: Call) -> Response:
    """Let an account have a role."""
    uid = await _account(call)
    wanted = await _body(call, ACCOUNT_IN_ROLE_CREATE_SPEC, "EnterpriseRoleUid")
    try:
        membership = await call.manager.accounts.grant(uid, _role(wanted["EnterpriseRoleUid"]))
    except NoSuchAccount:
        raise not_found(ENTERPRISE_ACCOUNT, uid) from None
    return _created(call, 201, f"{_ACCOUNTS}/{uid}/roles/{membership}")


async def remove_role(call: Call) -> Response:
    """Take a role away from an account."""
    uid = await _account(call)
    membership = await _below(call, "roles").expect(call)
    try:
        await call.manager.accounts.revoke(uid, membership)
    except NoSuchAccount:
        raise not_found(ENTERPRISE_ACCOUNT, uid) from None
    except LastAdministrator as error:
        raise Forbidden(str(error)) from None
    return Response(status_code=204)


async def add_scopes(call: Call) -> Response:
    """Let an account restore further objects."""
    uid = await _account(call)
    wanted = await _body(call, HIERARCHY_SCOPE_CREATE_SPEC, "HierarchyScopeItem")
    try:
        scopes = await call.manager.scopes.add(uid, _objects(wanted))
    except NoSuchAccount:
        raise not_found(ENTERPRISE_ACCOUNT, uid) from None
    except WrongReference as error:
        raise BadRequest(str(error)) from None
    return _created(call, 202, f"{_ACCOUNTS}/{uid}/scopes/{scopes[0]}")


async def remove_scope(call: Call) -> Response:
    """Let an account no longer restore an object."""
    await call.manager.scopes.remove(await _below(call, "scopes").expect(call))
    return Response(status_code=204)


async def _rebuild_scopes(call: Call) -> Response:
    body = await call.body()
    wanted: dict[str, Any] = {}
    if body.strip():
        wanted = read_body(body, is_json=sends_json(call.request), root=REBUILD_SCOPE_JOB_SPEC)
    account = call.session.account_uid if "RebuildForCurrentUser" in wanted else None
    unprocessed = "RebuildUnprocessed" in wanted

    async def rebuild() -> str:
        found = await call.manager.scopes.rebuild(account=account, unprocessed=unprocessed)
        return f"Scopes rebuilt: {found}."

    task = await call.manager.tasks.start_here(call.session, "StartRebuildScope", rebuild)
    return await task_answer(call, task, 201)


async def _account(call: Call) -> UUID:
    return await Place(ENTERPRISE_ACCOUNT).expect(call)


def _below(call: Call, path: str) -> Place:
    child = next(child for child in ENTERPRISE_ACCOUNT.children if child.path == path)
    return Place(call.manager.schema[child.target], ENTERPRISE_ACCOUNT, child)


async def _body(call: Call, root: Element, *needed: str) -> dict[str, Any]:
    """What the body says, once it has all that is needed. Raises BadRequest, RequestError."""
    body = await call.body()
    if not body.strip():
        raise BadRequest(f"The body: expected a document {root.name}.")
    values = read_body(body, is_json=sends_json(call.request), root=root)
    for name in needed:
        if not values.get(name):
            raise BadRequest(f"Element {root.name}: {name} is missing.")
    return values


def _name(written: str) -> str:
    name = written.strip()
    if not name or ":" in name or not name.isprintable() or len(name) > 256:
        raise BadRequest(
            "Element AccountName: expected up to 256 printable characters without a colon."
        )
    return name


def _role(uid: str | None) -> Role:
    found = next((role for role, known in ROLE_UIDS.items() if str(known) == uid), None)
    if found is None:
        raise BadRequest(f"Element EnterpriseRoleUid: there is no role {uid}.")
    return found


def _objects(wanted: dict[str, Any]) -> list[tuple[str, str]]:
    """The references and names of the objects in a scope. Raises BadRequest."""
    objects = [
        (item.get("HierarchyObjRef") or "", item.get("ObjectName") or "")
        for item in wanted.get("HierarchyScopeItem", ())
    ]
    if any(not reference for reference, _ in objects):
        raise BadRequest("Element HierarchyScopeItem: HierarchyObjRef is missing.")
    return objects


def _created(call: Call, status: int, path: str) -> Response:
    return Response(status_code=status, headers={"Location": call.address(path)})
