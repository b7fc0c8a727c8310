"""A machine's definition, libvirt's domain XML: what a backup needs of it, and its rewriting.

The form is libvirt's: https://libvirt.org/formatdomain.html.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from holdfast.engine.errors import EngineError
from holdfast.engine.libvirt_xml import METADATA, encryption, parse, unparse

# The one format that QEMU can store bitmaps in.
BITMAP_FORMAT = "qcow2"
# The namespace of the note in the metadata of a machine that is another's replica.
REPLICA_MARK = "urn:holdfast:replica"
_MARK = f"metadata/{{{METADATA}}}session"


@dataclass(frozen=True, slots=True)
class MachineDisk:
    """A disk as the guest has it: ``target`` is vda, ``path`` the file or block device behind it.

    ``path`` is None where that is neither (a network volume). ``left_out`` says why it is no part
    of a backup, or is None. ``device`` says that ``path`` is that of a block device.
    """

    target: str
    path: str | None
    format: str
    left_out: str | None
    device: bool = False

    @property
    def tracked(self) -> bool:
        """Whether a checkpoint can keep a bitmap on it."""
        return self.format == BITMAP_FORMAT


@dataclass(frozen=True, slots=True)
class Definition:
    """What a domain XML says. ``mark`` is the note that Holdfast left while it ran, or None.

    ``tags`` are the texts of elements named ``tag``, of whatever namespace, in its metadata.
    ``replica`` says that it stands for another machine and is none of its own.
    """

    uuid: str
    name: str
    disks: tuple[MachineDisk, ...]
    nvram: str | None
    has_tpm: bool
    tags: tuple[str, ...]
    mark: str | None
    replica: bool

    @property
    def backed_up(self) -> tuple[MachineDisk, ...]:
        """The disks that a backup holds."""
        return tuple(disk for disk in self.disks if disk.left_out is None)


def read_definition(xml: str | bytes) -> Definition:
    """Given a domain XML, return what it says; raise EngineError when it is none."""
    root = _domain(xml)
    nvram = root.find("os/nvram")
    return Definition(
        uuid=_text(root, "uuid"),
        name=_text(root, "name"),
        disks=tuple(disk for element in root.findall("devices/disk") if (disk := _disk(element))),
        nvram=None if nvram is None else _nvram_path(nvram),
        has_tpm=root.find("devices/tpm") is not None,
        tags=tuple(
            text
            for element in root.findall("metadata//{*}tag")
            if (text := (element.text or "").strip())
        ),
        mark=root.findtext(_MARK),
        replica=_marked_as_replica(root),
    )


def is_replica(xml: str | bytes) -> bool:
    """Given a domain XML, say whether the machine is another's replica."""
    return _marked_as_replica(_domain(xml))


def _marked_as_replica(root: etree._Element) -> bool:
    return root.find(f"metadata/{{{REPLICA_MARK}}}replica") is not None


def _domain(xml: str | bytes) -> etree._Element:
    root = parse(xml, "The definition of the machine")
    if root.tag != "domain":
        raise EngineError("The definition of the machine is not libvirt's domain XML.")
    return root


def _text(root: etree._Element, name: str) -> str:
    text = (root.findtext(name) or "").strip()
    if not text:
        raise EngineError(f"The definition of the machine has no {name}.")
    return text


def _nvram_path(nvram: etree._Element) -> str | None:
    source = nvram.find("source")
    path = nvram.text if source is None else source.get("file")
    return (path or "").strip() or None


def _disk(element: etree._Element) -> MachineDisk | None:
    target = element.find("target")
    if target is None:
        return None
    source = element.find("source")
    driver = element.find("driver")
    path = None
    if source is not None:
        path = source.get("file") or source.get("dev")
    return MachineDisk(
        target=target.get("dev", ""),
        path=path,
        format="raw" if driver is None else driver.get("type", "raw"),
        left_out=_reason_to_leave_out(element, source),
        device=element.get("type") == "block",
    )


def _reason_to_leave_out(element: etree._Element, source: etree._Element | None) -> str | None:
    device = element.get("device", "disk")
    if device != "disk":
        return f"it is a {device}"
    if source is None:
        return "it has no medium"
    if element.find("readonly") is not None:
        return "it is read-only"
    if element.find("shareable") is not None:
        return "several machines share it"
    return None


@dataclass(frozen=True, slots=True)
class Identity:
    """The name and UUID that a machine is restored under; ``new_addresses`` gives it new MACs."""

    name: str
    uuid: str
    new_addresses: bool


@dataclass(frozen=True, slots=True)
class Labels:
    """How a host marks the files that a machine uses as its own.

    ``models`` are its ways of doing so. ``owner`` is whom the machine has to run as to read what
    nobody else may, such as "+0:+0"; None where it can read all.
    """

    models: tuple[str, ...] = ()
    owner: str | None = None


def new_identity(name: str, number: str | None = None) -> Identity:
    """Return an identity that no machine has yet; ``number`` is its UUID, if it is chosen."""
    return Identity(name, number or str(uuid.uuid4()), True)


def rewritten(
    xml: str | bytes,
    *,
    identity: Identity | None,
    disks: Mapping[str, tuple[Path, str]],
    nvram: Path | None,
    layers: Mapping[str, Sequence[Path]] | None = None,
    labels: Labels | None = None,
    secret: str | None = None,
) -> str:
    """Given a domain XML, return it for a restored machine.

    ``disks`` gives the restored file and its format for each target; disks of the original that
    are not among them are taken out, CD-ROMs lose their medium. ``identity`` None keeps name, UUID
    and addresses. Where the original names an NVRAM, ``nvram`` takes its place; without one it is
    left to libvirt to make it anew from its template. ``layers`` are the qcow2 files below a disk,
    the topmost first: they are read alone, and what ``labels`` says keeps the host from giving them
    to another owner. They are encrypted with the host's ``secret`` of that UUID, if one is given.
    """
    labels = labels or Labels()
    root = _domain(xml)
    _drop(root, "id")
    for element in root.findall("devices/disk"):
        _rewrite_disk(element, disks)
        _lay(element, layers or {}, labels, secret)
    if labels.owner is not None:
        _run_as(root, labels.owner)
    for element in root.findall("os/nvram"):
        _rewrite_nvram(element, nvram)
    for element in root.findall(_MARK):
        _remove(element)
    if identity is not None:
        _rename(root, identity)
    return unparse(root)


def replaced(
    xml: str | bytes,
    now: str | bytes,
    disks: Mapping[str, tuple[Path, str]],
    nvram: Path | None,
) -> str:
    """Given a domain XML of before, return it for the same machine, which is defined as ``now``.

    ``disks`` gives the file and its format of the targets that were restored, and ``nvram`` is the
    restored one. The name, all other disks, and an NVRAM that was not restored, are what the
    machine has now; disks that it does not have any more are left out.
    """
    root, present = _domain(xml), _domain(now)
    there = {_target_of(element): element for element in present.findall("devices/disk")}
    for element in root.findall("devices/disk"):
        disk = _disk(element)
        place = None if disk is None else disks.get(disk.target)
        if disk is None or place is None:
            _put_in_place(element, there.get(_target_of(element)))
        elif place != (Path(disk.path or ""), disk.format):
            _rewrite_disk(element, disks)
        else:
            _stand_alone(element)
    for element in root.findall("os/nvram"):
        if nvram is None:
            _put_in_place(element, present.find("os/nvram"))
        else:
            _rewrite_nvram(element, nvram)
    for element in root.findall("name"):
        element.text = present.findtext("name")
    return unparse(root)


def standing_alone(xml: str | bytes, targets: Collection[str]) -> str | None:
    """Given a domain XML, return it with disks that are built on no others; None if they are not.

    libvirt keeps what a snapshot was built on in the definition, whatever the file itself says.
    """
    root = _domain(xml)
    found = [e for e in root.findall("devices/disk") if _target_of(e) in targets]
    return unparse(root) if [e for e in found if _stand_alone(e)] else None


def _target_of(element: etree._Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("dev", "")


def _stand_alone(element: etree._Element) -> bool:
    """Take out what a disk was built on or is copied to; say whether there was any."""
    stale = [*element.findall("backingStore"), *element.findall("mirror")]
    for found in stale:
        element.remove(found)
    return bool(stale)


def _put_in_place(element: etree._Element, other: etree._Element | None) -> None:
    """Put a copy of another element in the place of one, or nothing."""
    parent = element.getparent()
    if other is None or parent is None:
        _remove(element)
        return
    copy = deepcopy(other)
    # Its place on the bus and among what is booted from may be another's in this definition.
    address, before = copy.find("address"), element.find("address")
    if address is not None and (before is None or address.items() != before.items()):
        copy.remove(address)
    for boot in copy.findall("boot"):
        copy.remove(boot)
    copy.extend(deepcopy(element.findall("boot")))
    parent.replace(element, copy)


def _rewrite_disk(element: etree._Element, disks: Mapping[str, tuple[Path, str]]) -> None:
    name = _target_of(element)
    # What the original was built on or copied to is not what the restored one is.
    _stand_alone(element)
    if name not in disks:
        # A disk of the host's own ("lun"), too: on another host that is another one.
        if element.get("device", "disk") not in ("cdrom", "floppy"):
            _remove(element)
        else:
            for source in element.findall("source"):
                element.remove(source)
        return
    path, format = disks[name]
    driver = element.find("driver")
    if driver is None:
        driver = etree.Element("driver", name="qemu")
        element.insert(0, driver)
    driver.set("type", format)
    for source in element.findall("source"):
        element.remove(source)
    element.set("type", "file")
    source = etree.Element("source", file=str(path))
    driver.addnext(source)


def _lay(
    element: etree._Element,
    layers: Mapping[str, Sequence[Path]],
    labels: Labels,
    secret: str | None,
) -> None:
    target = element.find("target")
    below = layers.get("" if target is None else target.get("dev", ""))
    source = element.find("source")
    if below is None or source is None:
        return
    # All of the chain is named, down to its end: libvirt looks into no file to find it.
    layer = etree.Element("backingStore")
    source.addnext(layer)
    for path in below:
        layer.set("type", "file")
        etree.SubElement(layer, "format", type="qcow2")
        file = etree.SubElement(layer, "source", file=str(path))
        for model in labels.models:
            etree.SubElement(file, "seclabel", model=model, relabel="no")
        if secret is not None:
            file.append(encryption(secret))
        layer = etree.SubElement(layer, "backingStore")


def leave_host_devices(root: etree._Element) -> None:
    """Take out what the host lends of its own: elsewhere that may be a disk with others' data."""
    for device in root.findall("devices/hostdev"):
        _remove(device)


def _run_as(root: etree._Element, owner: str) -> None:
    for found in root.findall("seclabel[@model='dac']"):
        _remove(found)
    label = etree.SubElement(root, "seclabel", type="static", model="dac", relabel="yes")
    etree.SubElement(label, "label").text = owner


def without_layers(xml: str | bytes, moved: Mapping[Path, Path], owner: str) -> str:
    """Given the XML of a machine made with layers, return it when its disks stand alone.

    ``moved`` gives the file that took the place of each layer. ``owner`` is whom the machine ran
    as, if it ran as somebody for the layers' sake.
    """
    root = _domain(xml)
    files = {str(layer): str(path) for layer, path in moved.items()}
    for element in root.findall("devices/disk"):
        for stale in ("backingStore", "mirror"):
            for found in element.findall(stale):
                _remove(found)
        source = element.find("source[@file]")
        if source is not None:
            source.set("file", files.get(source.get("file", ""), source.get("file", "")))
    for label in root.findall("seclabel[@model='dac']"):
        if label.get("type") == "static" and label.findtext("label") == owner:
            _remove(label)
    return unparse(root)


def files_in(xml: str | bytes) -> set[str]:
    """Given a domain XML, return all files that its disks are made of, down to the lowest layer."""
    found = _domain(xml).iterfind("devices/disk//source[@file]")
    return {source.get("file", "") for source in found}


def _rewrite_nvram(element: etree._Element, nvram: Path | None) -> None:
    for source in element.findall("source"):
        element.remove(source)
    for attribute in ("type", "format"):
        _drop(element, attribute)
    element.text = None if nvram is None else str(nvram)


def _rename(root: etree._Element, identity: Identity) -> None:
    for name, text in (("name", identity.name), ("uuid", identity.uuid)):
        element = root.find(name)
        if element is not None:
            element.text = text
    # The BIOS tells the guest the UUID, too, and libvirt wants the two to be the same.
    for entry in root.findall("sysinfo/system/entry[@name='uuid']"):
        entry.text = identity.uuid
    for genid in root.findall("genid"):
        # Without a value libvirt makes a new one: it tells the guest that it is a copy.
        genid.text = None
    if identity.new_addresses:
        for mac in root.findall("devices/interface/mac"):
            _remove(mac)  # libvirt makes a new one
    # Sockets and files named after the old machine: libvirt names them anew.
    for source in root.findall("devices/channel[@type='unix']/source[@mode='bind']"):
        _remove(source)


def _drop(element: etree._Element, attribute: str) -> None:
    if attribute in element.attrib:
        del element.attrib[attribute]


def _remove(element: etree._Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)
