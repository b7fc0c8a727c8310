"""The catalog of the files in restore points: browsed without touching a repository."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from starlette.responses import Response

from holdfast.api import file_descriptions as descriptions
from holdfast.api.answers import answer
from holdfast.api.call import Call
from holdfast.api.errors import BadRequest
from holdfast.api.file_listing import (
    ACTIONS,
    KINDS,
    action_of,
    answered,
    page_of,
    server_of_row,
    started,
)
from holdfast.api.resources import Place
from holdfast.api.routing import Methods, Router
from holdfast.catalog.reader import Row
from holdfast.manager.connection import BackupServerConnection
from holdfast.manager.task_links import path_below
from holdfast.representation.file_system import FileItem, folder_document, item_document
from holdfast.representation.links import LinkValue, address_of
from holdfast.representation.paging import Paging
from holdfast.schema.resource import Schema
from holdfast.server.messages import Entry, Listing

#: What a listing without paging holds at most; one that is cut off says so by its paging.
_WHOLE = 10_000
_LIST_TYPES = ("FileSystemItemsList", "DirectoryEntryList", "FileEntryList")


def add_routes(router: Router, schema: Schema) -> None:
    """Given a router and a schema, add the routes of this module."""
    machine = schema["CatalogVm"]
    (child,) = machine.children
    place = Place(schema["CatalogVmRestorePoint"], machine, child)
    catalog = Catalog(place)
    point = f"{machine.collection}/{{id}}/{child.path}/{{item}}"
    files: Methods = {"GET": catalog.browse, "POST": catalog.restore}
    described = descriptions.files_of_catalog()
    root = {"GET": described["GET"]}
    router.add(point, {"POST": catalog.start_browsing}, describe=descriptions.browsing())
    router.add(f"{point}/guestfs", {"GET": catalog.browse}, describe=root)
    router.add(f"{point}/guestfs/{{path:path}}", files, describe=described)


@dataclass(frozen=True)
class _Point:
    """A restore point of the catalog: its machine, the server that has it, its file tree."""

    uid: UUID
    server: UUID
    line: BackupServerConnection
    tree: str

    def item(self, path: str, entry: Entry) -> FileItem:
        """Given where an entry stands and what it is, return it as it is shown."""
        is_folder = entry.kind == "directory"
        href = f"{self.tree}/{path_below(path)}".rstrip("/")
        links = []
        if is_folder:
            suffixes = ("", "&pageSize=10&page=1", "&pageSize=10&page=1")
            downs = [
                LinkValue("Down", f"{href}?action={action}{suffix}", type=kind)
                for action, suffix, kind in zip(ACTIONS, suffixes, _LIST_TYPES, strict=True)
            ]
            links = [downs[0], downs[2], downs[1]]
        elif entry.kind == "file":
            links = [LinkValue("Restore", f"{href}?action=restore")]
        return FileItem(
            is_folder,
            path.replace("/", "\\"),
            entry.name,
            href,
            links,
            entry.size,
            entry.owner,
            entry.modified,
        )


class Catalog:
    """What can be asked about the restore points of the catalog."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def start_browsing(self, call: Call) -> Response:
        """Start the browsing of a point and answer with the task, which leads to its files."""
        if action_of(call) != "browse":
            raise BadRequest("Parameter action: expected browse.")
        point = await self._point(call)
        return await started(
            call, "BrowseVM", point.server, "browse-catalog", point.uid, status=200
        )

    async def browse(self, call: Call) -> Response:
        """Answer with a file or folder, or with what is in a folder."""
        action = action_of(call)
        if action and action not in KINDS:
            raise BadRequest(f"Parameter action: expected one of {', '.join(ACTIONS)}.")
        point, path = await self._point(call), _path(call)
        if not action:
            with answered():
                found = f"/catalog/{point.uid}/entry"
                entry = await point.line.look(found, Entry, {"path": path})
            return answer(call.request, item_document(point.item(path, entry), call.base))
        kinds, _ = KINDS[action]
        asked = call.parameter("pageSize") is not None or call.parameter("page") is not None
        page = page_of(call, KINDS[action][1] if asked else _WHOLE)
        parameters: dict[str, str | int] = {"path": path, "kinds": kinds}
        parameters |= {"offset": (page.number - 1) * page.size, "limit": page.size}
        with answered():
            listing = await point.line.look(f"/catalog/{point.uid}/entries", Listing, parameters)
        items = [point.item(f"{path}/{entry.name}".strip("/"), entry) for entry in listing.entries]
        address = f"{point.tree}/{path_below(path)}".rstrip("/")
        paging = Paging(address, call.parameters, page.size, page.number, listing.total)
        shown = paging if asked or paging.pages > 1 else None
        above = path.rpartition("/")[0]
        up = f"{point.tree}/{path_below(above)}".rstrip("/")
        links = [LinkValue("Up", up, type="DirectoryEntry")] if path else []
        document = folder_document(items, kinds, shown, call.base, links=links)
        return answer(call.request, document)

    async def restore(self, call: Call) -> Response:
        """Start the restore of a file to where it was and answer with the task.

        A file that is there already stays; the restored one is put beside it.
        """
        if action_of(call) != "restore":
            raise BadRequest("Parameter action: expected restore.")
        point = await self._point(call)
        await call.body()
        arguments: dict[str, object] = {"path": _path(call)}
        return await started(
            call, "RestoreFile", point.server, "restore-catalog-file", point.uid, arguments
        )

    async def _point(self, call: Call) -> _Point:
        """Return the point that the address names. Raises NotFound, BackupServerDown."""
        row: Row = await self._place.row(call)
        uid = UUID(row["UID"])
        server, line = await server_of_row(call, self._place.resource, uid)
        tree = f"{address_of(call.manager.schema, self._place.resource)(row)}/guestfs"
        return _Point(uid, server, line, tree)


def _path(call: Call) -> str:
    """Return the path inside the point; backslashes, as documents show them, do as well."""
    path: str = call.request.path_params.get("path", "")
    return path.replace("\\", "/").strip("/")
