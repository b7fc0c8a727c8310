"""The XML of backups and checkpoints, and the safe way to read XML that comes from outside.

The forms are libvirt's: https://libvirt.org/formatbackup.html, https://libvirt.org/formatcheckpoint.html.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from lxml import etree

from holdfast.engine.errors import EngineError

METADATA = "urn:holdfast:libvirt"
"""The namespace of what Holdfast writes into a machine's metadata."""


def parse(text: str | bytes, what: str) -> etree._Element:
    """Given XML, return its root element; raise EngineError, naming ``what``, when it is none.

    Entities, document types and the network are off: a definition may come from a repository.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=True
    )
    try:
        root = etree.fromstring(text.encode() if isinstance(text, str) else text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise EngineError(f"{what} is not well-formed XML: {error}.") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise EngineError(f"{what} has a document type, which is not accepted.")
    return root


def unparse(root: etree._Element) -> str:
    """Return an element as text, indented."""
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def copy_xml(path: Path) -> str:
    """Return the XML of a new qcow2 file that a disk is copied to."""
    disk = etree.Element("disk", type="file")
    etree.SubElement(disk, "source", file=str(path))
    etree.SubElement(disk, "driver", type="qcow2")
    return unparse(disk)


def backup_xml(
    targets: Mapping[str, Path],
    bases: Mapping[str, str],
    left_out: Collection[str],
    secret: str | None = None,
) -> str:
    """Return the XML of a backup job that pushes disks to new qcow2 files.

    ``targets`` gives each disk's file, ``bases`` the checkpoint since which a disk is wanted; one
    without gets a full. ``left_out`` are the machine's other disks: libvirt takes in any disk
    that is not named. The files are encrypted with the ``secret`` of that UUID, if one is given.
    """
    root = etree.Element("domainbackup", mode="push")
    disks = etree.SubElement(root, "disks")
    for target, path in targets.items():
        disk = etree.SubElement(disks, "disk", name=target, backup="yes", type="file")
        base = bases.get(target)
        disk.set("backupmode", "full" if base is None else "incremental")
        if base is not None:
            disk.set("incremental", base)
        etree.SubElement(disk, "driver", type="qcow2")
        file = etree.SubElement(disk, "target", file=str(path))
        if secret is not None:
            file.append(encryption(secret))
    for target in left_out:
        etree.SubElement(disks, "disk", name=target, backup="no")
    return unparse(root)


def encryption(secret: str) -> etree._Element:
    """Return the element that says which secret, by its UUID, an image is encrypted with."""
    element = etree.Element("encryption", format="luks")
    etree.SubElement(element, "secret", type="passphrase", uuid=secret)
    return element


def secret_xml(uuid: str, description: str) -> str:
    """Return the XML of a secret that libvirt keeps in memory only and tells nobody."""
    root = etree.Element("secret", ephemeral="yes", private="yes")
    etree.SubElement(root, "uuid").text = uuid
    etree.SubElement(root, "description").text = description
    return unparse(root)


def backup_files_in(xml: str) -> list[Path]:
    """Given the XML of a backup job, return the files it writes."""
    root = parse(xml, "The backup job")
    return [Path(target.get("file", "")) for target in root.findall("disks/disk/target")]


def checkpoint_xml(
    name: str,
    tracked: Collection[str],
    untracked: Collection[str],
    *,
    created: int | None = None,
    bitmaps: str | None = None,
) -> str:
    """Return the XML of a checkpoint with a bitmap on each of the disks ``tracked``.

    ``created``, in seconds since 1970, is only given for one that exists. The bitmaps have the
    checkpoint's name, or ``bitmaps`` and that of their disk.
    """
    root = etree.Element("domaincheckpoint")
    etree.SubElement(root, "name").text = name
    if created is not None:
        etree.SubElement(root, "creationTime").text = str(created)
    disks = etree.SubElement(root, "disks")
    for target in tracked:
        disk = etree.SubElement(disks, "disk", name=target, checkpoint="bitmap")
        if bitmaps is not None:
            disk.set("bitmap", f"{bitmaps}{target}")
    for target in untracked:
        etree.SubElement(disks, "disk", name=target, checkpoint="no")
    return unparse(root)


def without_bitmap(checkpoint: str, target: str) -> str | None:
    """Given a checkpoint's XML, return it without its bitmap on a disk, or None without any."""
    root = parse(checkpoint, "The checkpoint")
    left = 0
    for disk in root.findall("disks/disk"):
        if disk.get("name") == target:
            if "bitmap" in disk.attrib:
                del disk.attrib["bitmap"]
            disk.set("checkpoint", "no")
        left += disk.get("checkpoint") == "bitmap"
    return unparse(root) if left else None
