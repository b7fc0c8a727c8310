"""The documents about files inside restore points: mounts, folders, files.

What they hold is no row of the catalog; a backup server is asked for it.
"""

from __future__ import annotations

from holdfast.schema.services import LINKS, PAGING_INFO
from holdfast.schema.types import (
    DATE_TIME,
    HREF,
    INTEGER,
    STRING,
    Element,
    Enumeration,
    Structure,
    structure,
)


def _entry(name: str, *further: Element) -> Structure:
    type_of_it = Element("Type", Enumeration((name,)))
    children = (LINKS, Element("Path", STRING), Element("Name", STRING), *further)
    return Structure(children, (type_of_it, Element("Href", HREF)))


_FILE = _entry(
    "FileEntry",
    Element("Size", INTEGER),
    Element("Owner", STRING),
    Element("ModifiedDateUTC", DATE_TIME),
)
_DIRECTORY = _entry("DirectoryEntry")

_DIRECTORIES = Element("DirectoryEntry", _DIRECTORY, repeated=True, json_name="DirectoryEntries")
_LISTS = (
    Element(
        "Files",
        structure(Element("FileEntry", _FILE, repeated=True, json_name="FileEntries")),
        optional=True,
    ),
    Element("Directories", structure(_DIRECTORIES), optional=True),
    Element(PAGING_INFO.name, PAGING_INFO.type, optional=True),
)

#: A file or folder by itself; the lists have their place in it and are never filled.
FILE_SYSTEM_ENTRY = Element(
    "FileSystemEntry",
    structure(
        Element("FileEntry", _FILE, optional=True),
        Element("DirectoryEntry", _DIRECTORY, optional=True),
        *_LISTS,
    ),
)

#: What is in a folder. The lists that were not asked for are absent.
FILE_SYSTEM_ENTRIES = Element(
    "FileSystemEntries",
    Structure((LINKS, *_LISTS), (Element("Href", HREF, optional=True),)),
)


def _mount(name: str) -> Element:
    attributes = (Element("Href", HREF), Element("Type", Enumeration((name,))))
    return Element(
        name, Structure((LINKS, Element("FSRoots", structure(_DIRECTORIES))), attributes)
    )


def _mounts(mount: Element) -> Element:
    plural = f"{mount.name}s"
    return Element(
        plural, structure(Element(mount.name, mount.type, repeated=True, json_name=plural))
    )


#: A mount, by the type of the restore point that is mounted, and the list of all of one point.
MOUNTS = {name: _mount(f"{name}Mount") for name in ("VmRestorePoint", "VmReplicaPoint")}
MOUNT_LISTS = {name: _mounts(mount) for name, mount in MOUNTS.items()}

#: The roots of this module: those of objects, and those of lists of them.
OBJECTS = (FILE_SYSTEM_ENTRY, FILE_SYSTEM_ENTRIES, *MOUNTS.values())
LISTS = tuple(MOUNT_LISTS.values())
