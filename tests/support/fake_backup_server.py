"""A backup server that is none: for tests of what a manager's API answers, not of what is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.cli import certificate
from holdfast.manager.stored_connections import ConnectionDetails
from holdfast.server.messages import (
    Changes,
    Command,
    Entry,
    Information,
    InstantRecovery,
    Listing,
    Made,
    MountedPoint,
    Outcome,
)
from support.servers import served

FILE = Entry(name="a file", kind="file", size=7, owner="0")

_MADE = {"create-credentials": "Credentials", "create-password": "Passwords"}


class FakeBackupServer:
    """Says yes to every command, does nothing, and has nothing new to tell.

    Of every restore point there is one mount, with one volume and one file in it. One machine runs
    from its restore point.
    """

    def __init__(self, uid: UUID, name: str) -> None:
        self.commands: list[Command] = []
        self._uid = uid
        self._epoch = uuid4()
        self._name = name
        self.app = Starlette(
            routes=[
                Route("/information", self._information),
                Route("/changes", self._changes),
                Route("/commands", self._command, methods=["POST"]),
                Route("/mounts", self._mounts),
                Route("/instant-recoveries", self._recoveries),
                Route("/mounts/{uid}", self._release, methods=["DELETE"]),
                Route("/{where}/{uid}/entry", self._entry),
                Route("/{where}/{uid}/entries", self._entries),
                Route("/{where}/{uid}/content", self._content),
            ]
        )

    async def _information(self, _request: Request) -> Response:
        information = Information(
            uid=self._uid,
            epoch=self._epoch,
            name=self._name,
            description="",
            version="1",
            cursor=0,
        )
        return _answer(information)

    async def _changes(self, request: Request) -> Response:
        if int(request.query_params["wait"]):
            await asyncio.sleep(0.2)
        return _answer(Changes(epoch=self._epoch, cursor=0, more=False, changes=[]))

    async def _command(self, request: Request) -> Response:
        command = msgspec.json.decode(await request.body(), type=Command)
        self.commands.append(command)
        kind = _MADE.get(command.operation)
        made = Made(type=kind, uid=uuid4(), name="made") if kind else None
        return _answer(Outcome(success=True, message="Ok", cursor=0, made=made))

    async def _mounts(self, request: Request) -> Response:
        point = UUID(request.query_params["point"])
        return _answer([MountedPoint(uid=point, point=point, number=1)])

    async def _recoveries(self, _request: Request) -> Response:
        recovery = InstantRecovery(
            uid=self._uid,
            point=self._uid,
            host=self._uid,
            host_name="kvm1",
            name="web",
            uuid=str(self._uid),
            state="Migrating",
            created=0,
            session=self._uid,
            progress=50,
        )
        return _answer([recovery])

    async def _release(self, _request: Request) -> Response:
        return Response(status_code=204)

    async def _entry(self, request: Request) -> Response:
        name = request.query_params["path"].rpartition("/")[2]
        return _answer(FILE if name == FILE.name else Entry(name=name, kind="directory"))

    async def _entries(self, request: Request) -> Response:
        if request.query_params["path"]:
            return _answer(Listing(entries=[FILE], total=1))
        return _answer(Listing(entries=[Entry(name="volume1", kind="directory")], total=1))

    async def _content(self, _request: Request) -> Response:
        return Response(b"content", media_type="application/octet-stream")


@asynccontextmanager
async def served_over_tls(
    server: FakeBackupServer, directory: Path
) -> AsyncIterator[ConnectionDetails]:
    """Serve it on a free port of loopback; give how to reach it. Keeps its key in `directory`."""
    tls = certificate.ensure(directory, ["127.0.0.1"])
    async with served(server.app, tls) as port:
        fingerprint = certificate.fingerprint(tls.certificate).replace(":", "")
        yield ConnectionDetails("127.0.0.1", port, fingerprint, "a-token", "")


def _answer(message: object) -> Response:
    return Response(msgspec.json.encode(message), media_type="application/json")
