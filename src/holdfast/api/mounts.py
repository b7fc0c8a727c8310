"""Restore points that are open for browsing: mounts, and the files in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from starlette.responses import Response

from holdfast.api import file_descriptions as descriptions
from holdfast.api.answers import answer
from holdfast.api.call import Call, not_found
from holdfast.api.description import Operations
from holdfast.api.errors import BadRequest, NotFound
from holdfast.api.file_listing import (
    ACTIONS,
    KINDS,
    action_of,
    answered,
    file_content,
    page_of,
    server_of_row,
    started,
)
from holdfast.api.negotiation import sends_json
from holdfast.api.resources import Place
from holdfast.api.routing import Methods, Router
from holdfast.manager.connection import BackupServerConnection
from holdfast.manager.restore_requests import file_restore
from holdfast.manager.task_links import path_below
from holdfast.representation.file_system import (
    FileItem,
    Mount,
    folder_document,
    item_document,
    mount_document,
    mounts_document,
)
from holdfast.representation.links import LinkValue, May, method_of
from holdfast.representation.paging import Paging
from holdfast.representation.requests import read_body
from holdfast.schema.core import CORE
from holdfast.schema.file_system import MOUNTS
from holdfast.schema.resources.restore_specs import FILE_RESTORE_SPEC
from holdfast.server.messages import Entry, Listing, MountedPoint

_MOST_ROOTS = 200


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    # The points of directories are listed in the catalog of files alone.
    points = MountPlace("VmRestorePoint", "CatalogVmRestorePoint")
    for place in (points, MountPlace("VmReplicaPoint")):
        for path, methods, described in place.routes():
            router.add(path, methods, describe=described)


@dataclass(frozen=True)
class _Point:
    """A restore point, the backup server that has it, and the line to there."""

    uid: UUID
    server: UUID
    line: BackupServerConnection


@dataclass(frozen=True)
class _Inside:
    """A mount of a point of a type, and its address below the base.

    `may` says which links the caller may follow.
    """

    point: _Point
    mount: MountedPoint
    point_type: str
    href: str
    may: May

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
        template = f"{CORE[self.point_type].collection}/{{id}}/mounts/{{item}}/{{path}}"
        shown = [
            link
            for link in links
            if self.may(method_of(link.rel), f"{template}?{link.href.partition('?')[2]}")
        ]
        return FileItem(
            is_folder, path, entry.name, href, shown, entry.size, entry.owner, entry.modified
        )

    async def shown(self) -> Mount:
        """Return the mount as it is shown."""
        roots = await self.listing("", "directories", 0, _MOST_ROOTS)
        items = [self.item(entry.name, entry) for entry in roots.entries]
        return Mount(self.point_type, self.href, items)


class MountPlace:
    """The mounts of the restore points of one type. `further` may have the same points, too."""

    def __init__(self, name: str, *further: str) -> None:
        self._names = (name, *further)

    def routes(self) -> Iterator[tuple[str, Methods, Operations]]:
        """Yield the paths, with what answers there and what describes it."""
        name = self._names[0]
        mounts = f"{CORE[name].collection}/{{id}}/mounts"
        several: Methods = {"GET": self.list_mounts, "POST": self.mount_point}
        one: Methods = {"GET": self.show_mount, "DELETE": self.release_mount}
        inside: Methods = {"GET": self.browse, "POST": self.restore_file}
        yield mounts, several, descriptions.mounts(name)
        yield f"{mounts}/{{item}}", one, descriptions.mount(name)
        yield f"{mounts}/{{item}}/{{path:path}}", inside, descriptions.files_of_mount()

    async def list_mounts(self, call: Call) -> Response:
        """Answer with the mounts of a restore point."""
        point = await self._point(call)
        with answered():
            mounts = await point.line.mounts(point.uid)
        shown = [await self._inside(call, point, mount).shown() for mount in mounts]
        return answer(call.request, mounts_document(self._names[0], shown, call.base))

    async def mount_point(self, call: Call) -> Response:
        """Start mounting a restore point and answer with the task.

        The body may name the kind of the machine's system; the file systems on the disk tell it.
        """
        point = await self._point(call)
        await call.body()
        return await started(call, "MountRestorePoint", point.server, "mount-point", point.uid)

    async def show_mount(self, call: Call) -> Response:
        """Answer with one mount."""
        inside = await self._mounted(call)
        return answer(call.request, mount_document(await inside.shown(), call.base))

    async def release_mount(self, call: Call) -> Response:
        """Let go of a mount."""
        inside = await self._mounted(call)
        with answered():
            await inside.point.line.release(inside.mount.uid)
        return Response(status_code=204)

    async def browse(self, call: Call) -> Response:
        """Answer with a file or folder, with what is in a folder, or with a file's content."""
        action = action_of(call)
        if action == "download":
            inside = await self._mounted(call)
            path = f"/mounts/{inside.mount.uid}/content"
            return await file_content(call, inside.point.line, path, {"path": _path(call)})
        if action and action not in KINDS:
            known = ", ".join((*ACTIONS, "download"))
            raise BadRequest(f"Parameter action: expected one of {known}.")
        inside = await self._mounted(call)
        path = _path(call)
        if not action:
            item = inside.item(path, await inside.entry(path))
            return answer(call.request, item_document(item, call.base))
        kinds, default = KINDS[action]
        page = page_of(call, default)
        found = await inside.listing(path, kinds, (page.number - 1) * page.size, page.size)
        items = [inside.item(f"{path}/{entry.name}", entry) for entry in found.entries]
        address = f"{inside.href}/{path_below(path)}"
        paging = Paging(address, call.parameters, page.size, page.number, found.total)
        query = call.request.url.query
        href = f"{address}?{query}" if query else address
        document = folder_document(items, kinds, paging, call.base, href=href)
        return answer(call.request, document)

    async def restore_file(self, call: Call) -> Response:
        """Start the restore of a file or folder and answer with the task."""
        if action_of(call) != "restore":
            raise BadRequest("Parameter action: expected restore.")
        inside = await self._mounted(call)
        is_json = sends_json(call.request)
        body = read_body(await call.body(), is_json=is_json, root=FILE_RESTORE_SPEC)
        arguments = file_restore(body, _path(call))
        return await started(
            call,
            "FileRestoreFromMountPoint",
            inside.point.server,
            "restore-file",
            inside.mount.uid,
            arguments,
        )

    async def _point(self, call: Call) -> _Point:
        """Return the restore point that the address names. Raises NotFound, BackupServerDown."""
        schema = call.manager.schema
        for name in self._names:
            resource = schema[name]
            with suppress(NotFound):
                uid = await Place(resource).expect(call)
                return _Point(uid, *await server_of_row(call, resource, uid))
        raise not_found(schema[self._names[0]], call.request.path_params["id"])

    async def _mounted(self, call: Call) -> _Inside:
        """Return the mount that the address names. Raises NotFound, BackupServerDown."""
        point = await self._point(call)
        written: str = call.request.path_params["item"]
        with answered():
            for mount in await point.line.mounts(point.uid):
                if written == str(mount.number):
                    return self._inside(call, point, mount)
        raise NotFound(
            f"Cannot find {MOUNTS[self._names[0]].name} [{written}]. It may have been released."
        )

    def _inside(self, call: Call, point: _Point, mount: MountedPoint) -> _Inside:
        name = self._names[0]
        href = f"{CORE[name].collection}/{point.uid}/mounts/{mount.number}"
        return _Inside(point, mount, name, href, call.rights)


def _path(call: Call) -> str:
    path: str = call.request.path_params["path"]
    return path.strip("/")
