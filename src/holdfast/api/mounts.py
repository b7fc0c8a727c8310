"""Restore points that are open for browsing: mounts, and the files in them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.answers import answer
from holdfast.api.call import Call
from holdfast.api.errors import BadRequest, NotFound
from holdfast.api.file_listing import ACTIONS, KINDS, action_of, answered, file_content, page_of
from holdfast.api.negotiation import sends_json
from holdfast.api.resources import task_answer
from holdfast.api.routing import Router
from holdfast.catalog.writer import OWNER
from holdfast.manager.connection import BackupServerConnection
from holdfast.manager.restore_requests import file_restore
from holdfast.manager.task_links import MOUNT, MOUNT_POINTS, mount_address, path_below
from holdfast.representation.file_system import (
    FileDocument,
    FileItem,
    FolderDocument,
    MountDocument,
    MountList,
)
from holdfast.representation.links import LinkValue
from holdfast.representation.paging import Paging
from holdfast.representation.requests import read_body
from holdfast.schema.resources.restore_specs import FILE_RESTORE_SPEC
from holdfast.schema.roles import FILE_RESTORERS, RESTORERS
from holdfast.server.messages import Command, Entry, Listing, MountedPoint

_MOST_ROOTS = 200

#: Where a point may be listed: those of directories are in the catalog of files alone.
_POINT_TYPES = ("VmRestorePoint", "CatalogVmRestorePoint")


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    mounts = f"{MOUNT_POINTS}/{{id}}/mounts"
    router.add(mounts, {"GET": list_mounts, "POST": mount_point})
    router.add(f"{mounts}/{{mount}}", {"GET": show_mount, "DELETE": release_mount})
    router.add(f"{mounts}/{{mount}}/{{path:path}}", {"GET": browse, "POST": restore_file})


@dataclass(frozen=True)
class _Point:
    """A restore point, the backup server that has it, and the line to there."""

    uid: UUID
    server: UUID
    line: BackupServerConnection


@dataclass(frozen=True)
class _Inside:
    """A mount of a point, and its address."""

    point: _Point
    mount: MountedPoint
    href: str

    async def entry(self, path: str) -> Entry:
        with answered():
            found = f"/mounts/{self.mount.uid}/entry"
            return await self.point.line.look(found, Entry, {"path": path})

    async def listing(self, path: str, kinds: str, offset: int, limit: int) -> Listing:
        parameters: dict[str, str | int] = {"path": path, "kinds": kinds}
        parameters |= {"offset": offset, "limit": limit}
        with answered():
            found = f"/mounts/{self.mount.uid}/entries"
            return await self.point.line.look(found, Listing, parameters)

    def item(self, path: str, entry: Entry) -> FileItem:
        """Given where an entry stands and what it is, return it as it is shown."""
        is_folder = entry.kind == "directory"
        href = f"{self.href}/{path_below(path)}"
        above = path.rpartition("/")[0]
        links = []
        if above:
            up = f"{self.href}/{path_below(above)}?action=listAll&pageSize=100&page=1"
            links.append(LinkValue("Up", up))
        if is_folder:
            links += [
                LinkValue("Down", f"{href}?action={action}&pageSize={size}&page=1")
                for action, (_, size) in zip(ACTIONS, KINDS.values(), strict=True)
            ]
        if entry.kind in ("directory", "file"):
            links.append(LinkValue("Restore", f"{href}?action=restore"))
        return FileItem(
            is_folder, path, entry.name, href, links, entry.size, entry.owner, entry.modified
        )

    async def document(self) -> MountDocument:
        """Return the mount as it is shown."""
        roots = await self.listing("", "directories", 0, _MOST_ROOTS)
        return MountDocument(
            MOUNT, self.href, [self.item(entry.name, entry) for entry in roots.entries]
        )


async def list_mounts(call: Call) -> Response:
    """Answer with the mounts of a restore point."""
    require(call, FILE_RESTORERS, "browse restore points")
    point = await _point(call)
    with answered():
        mounts = await point.line.mounts(point.uid)
    documents = [await _inside(call, point, mount).document() for mount in mounts]
    return answer(call.request, MountList("VmRestorePointMounts", documents))


async def mount_point(call: Call) -> Response:
    """Start mounting a restore point and answer with the task.

    The body may name the kind of the machine's system; the file systems on the disk tell it.
    """
    require(call, FILE_RESTORERS, "browse restore points")
    point = await _point(call)
    await call.body()
    return await _started(call, point, "MountRestorePoint", "mount-point", point.uid, {})


async def show_mount(call: Call) -> Response:
    """Answer with one mount."""
    require(call, FILE_RESTORERS, "browse restore points")
    inside = await _mounted(call)
    return answer(call.request, await inside.document())


async def release_mount(call: Call) -> Response:
    """Let go of a mount."""
    require(call, FILE_RESTORERS, "browse restore points")
    inside = await _mounted(call)
    with answered():
        await inside.point.line.release(inside.mount.uid)
    return Response(status_code=204)


async def browse(call: Call) -> Response:
    """Answer with a file or folder, with what is in a folder, or with a file's content."""
    require(call, RESTORERS, "browse restore points")
    action = action_of(call)
    if action == "download":
        require(call, FILE_RESTORERS, "download files")
        inside = await _mounted(call)
        path = f"/mounts/{inside.mount.uid}/content"
        return await file_content(call, inside.point.line, path, {"path": _path(call)})
    if action and action not in KINDS:
        known = ", ".join((*ACTIONS, "download"))
        raise BadRequest(f"Parameter action: expected one of {known}.")
    inside = await _mounted(call)
    path = _path(call)
    if not action:
        return answer(call.request, FileDocument(inside.item(path, await inside.entry(path))))
    kinds, default = KINDS[action]
    page = page_of(call, default)
    found = await inside.listing(path, kinds, (page.number - 1) * page.size, page.size)
    items = [inside.item(f"{path}/{entry.name}", entry) for entry in found.entries]
    address = f"{inside.href}/{path_below(path)}"
    paging = Paging(address, call.parameters, page.size, page.number, found.total)
    query = call.request.url.query
    href = f"{address}?{query}" if query else address
    return answer(call.request, FolderDocument(items, paging, kinds, href))


async def restore_file(call: Call) -> Response:
    """Start the restore of a file or folder and answer with the task."""
    require(call, FILE_RESTORERS, "restore files")
    if action_of(call) != "restore":
        raise BadRequest("Parameter action: expected restore.")
    inside = await _mounted(call)
    body = read_body(await call.body(), is_json=sends_json(call.request), root=FILE_RESTORE_SPEC)
    arguments = file_restore(body, _path(call))
    return await _started(
        call,
        inside.point,
        "FileRestoreFromMountPoint",
        "restore-file",
        inside.mount.uid,
        arguments,
    )


async def _started(
    call: Call,
    point: _Point,
    operation: str,
    command: str,
    target: UUID,
    arguments: dict[str, object],
) -> Response:
    wanted = Command(
        request_id=uuid4(),
        operation=command,
        target=target,
        arguments=arguments,
        asked_by=call.session.user_name,
    )
    task = await call.manager.tasks.start(call.session, operation, point.server, wanted)
    return await task_answer(call, task)


async def _point(call: Call) -> _Point:
    """Return the restore point that the address names. Raises NotFound, Unavailable."""
    schema, manager = call.manager.schema, call.manager
    uid = call.path_uid(schema[_POINT_TYPES[0]])
    for name in _POINT_TYPES:
        if (server := await manager.reader.related(schema[name], uid, OWNER)) is not None:
            with answered():
                return _Point(uid, server, manager.connection_to(server))
    raise NotFound(f"Cannot find {_POINT_TYPES[0]} [{uid}].")


async def _mounted(call: Call) -> _Inside:
    """Return the mount that the address names. Raises NotFound, Unavailable."""
    point = await _point(call)
    written: str = call.request.path_params["mount"]
    with answered():
        for mount in await point.line.mounts(point.uid):
            if written == str(mount.number):
                return _inside(call, point, mount)
    raise NotFound(f"Cannot find {MOUNT} [{written}]. It may have been released.")


def _inside(call: Call, point: _Point, mount: MountedPoint) -> _Inside:
    return _Inside(point, mount, call.address(mount_address(point.uid, mount.number)))


def _path(call: Call) -> str:
    path: str = call.request.path_params["path"]
    return path.strip("/")
