"""Accounts with passwords: what the API proper has no call for."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.call import Call, not_found
from holdfast.api.description import Answer, Body, Operation
from holdfast.api.errors import BadRequest
from holdfast.api.own import PREFIX
from holdfast.api.own_bodies import json_object, read_as
from holdfast.api.resources import Place
from holdfast.api.routing import Router
from holdfast.manager.account import KINDS, USER, NewAccount
from holdfast.manager.accounts import AccountExists
from holdfast.manager.scopes import WrongReference
from holdfast.schema.resources.security import ENTERPRISE_ACCOUNT
from holdfast.schema.roles import ADMINISTRATOR, Role

#: No colon: basic credentials end the name with one.
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^:\x00-\x1f]+$")]
Specification = TypeVar("Specification")

_Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class AccountSpecification(msgspec.Struct, forbid_unknown_fields=True):
    """The body that makes an account; `roles` are names, `scopes` references of objects."""

    name: _Name
    password: _Password | None = None
    roles: list[Role] = []
    kind: str = USER
    allow_restore_all_vms: bool = True
    scopes: list[str] = []


class PasswordSpecification(msgspec.Struct, forbid_unknown_fields=True):
    """The body that sets a password."""

    password: _Password


_TEXTS = {"type": "array", "items": {"type": "string"}}
_CREATE_ACCOUNT = Operation(
    "Create an account with a password",
    "Holdfast",
    {201: Answer("The account is made; the header Location says where.", media="application/json")},
    ADMINISTRATOR,
    body=Body(
        json={
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "password": {"type": "string"},
                "roles": {"type": "array", "items": {"enum": [role.value for role in Role]}},
                "kind": {"type": "string", "enum": list(KINDS)},
                "allow_restore_all_vms": {"type": "boolean", "default": True},
                "scopes": _TEXTS,
            },
        },
        required=True,
    ),
)
_SET_PASSWORD = Operation(
    "Set the password of an account; its logon sessions end",
    "Holdfast",
    {204: Answer("The password is set.")},
    ADMINISTRATOR,
    body=Body(
        json={
            "type": "object",
            "required": ["password"],
            "properties": {"password": {"type": "string"}},
        },
        required=True,
    ),
)


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    accounts = f"{PREFIX}/accounts"
    router.add(accounts, {"POST": create_account}, describe={"POST": _CREATE_ACCOUNT})
    password = f"{accounts}/{{id}}/password"
    router.add(password, {"POST": set_password}, describe={"POST": _SET_PASSWORD})


async def create_account(call: Call) -> Response:
    """Make an account and answer 201 with its address. The password is kept as a hash alone."""
    require(call, ADMINISTRATOR, "create accounts")
    wanted = await _read(call, AccountSpecification)
    if wanted.kind not in KINDS:
        raise BadRequest(f"kind: expected one of {', '.join(KINDS)}.")
    if wanted.password is not None and wanted.kind != USER:
        raise BadRequest(f"password: only an account of kind {USER} has one here.")
    new = NewAccount(
        wanted.name,
        wanted.roles,
        wanted.password,
        wanted.kind,
        wanted.allow_restore_all_vms,
        wanted.scopes,
    )
    try:
        uid = await call.manager.accounts.add(new)
    except (AccountExists, WrongReference) as error:
        raise BadRequest(str(error)) from None
    address = call.address(f"{ENTERPRISE_ACCOUNT.collection}/{uid}")
    body = msgspec.json.encode({"UID": str(uid), "Name": wanted.name, "Href": address})
    headers = {"Location": address}
    return Response(body, 201, headers, media_type="application/json")


async def set_password(call: Call) -> Response:
    """Set the password of an account; its logon sessions end."""
    require(call, ADMINISTRATOR, "set passwords")
    uid = await Place(ENTERPRISE_ACCOUNT).expect(call)
    wanted = await _read(call, PasswordSpecification)
    try:
        await call.manager.accounts.set_password_of(uid, wanted.password)
    except LookupError:
        raise not_found(ENTERPRISE_ACCOUNT, uid) from None
    return Response(status_code=204)


async def _read(call: Call, kind: type[Specification]) -> Specification:
    return read_as(await json_object(call), kind)
