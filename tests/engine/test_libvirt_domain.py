"""Definitions of machines: what is read out of them, and how they are rewritten."""

from pathlib import Path

import pytest
from lxml import etree

from holdfast.engine.errors import EngineError
from holdfast.engine.libvirt_domain import (
    Identity,
    Labels,
    files_in,
    read_definition,
    replaced,
    rewritten,
    standing_alone,
    without_layers,
)
from holdfast.engine.libvirt_point import MachinePoint, StoredFile
from holdfast.engine.libvirt_replica import Standby, networks_of, standby_definition

DEFINITION = """
<domain type='kvm' id='7'>
  <name>web1</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid>
  <genid>99999999-2222-4333-8444-555555555555</genid>
  <metadata>
    <h:session xmlns:h='urn:holdfast:libvirt'>frozen</h:session>
    <o:libosinfo xmlns:o='urn:o'><o:os id='debian'/></o:libosinfo>
    <t:tag xmlns:t='urn:t'>gold</t:tag>
  </metadata>
  <os><type arch='x86_64'>hvm</type><nvram template='/t.fd'>/nvram/web1_VARS.fd</nvram></os>
  <sysinfo type='smbios'><system>
    <entry name='uuid'>11111111-2222-4333-8444-555555555555</entry></system></sysinfo>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='/images/a.qcow2'/><backingStore type='file'><source file='/b'/></backingStore>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/b'/>
      <target dev='vdb'/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='p/i'/><target dev='vdc'/></disk>
    <disk type='file' device='disk'><source file='/s.raw'/><target dev='vdd'/><shareable/></disk>
    <disk type='file' device='cdrom'><source file='/iso'/><target dev='sda'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/></interface>
    <channel type='unix'>
      <source mode='bind' path='/run/7-web1/agent'/><target type='virtio'/></channel>
    <tpm model='tpm-crb'/>
  </devices>
</domain>
"""


def test_definition_tells_what_a_backup_needs() -> None:
    definition = read_definition(DEFINITION)
    assert (definition.name, definition.nvram) == ("web1", "/nvram/web1_VARS.fd")
    assert definition.has_tpm
    assert (definition.tags, definition.mark) == (("gold",), "frozen")
    found = [(disk.target, disk.path, disk.format, disk.left_out) for disk in definition.disks]
    assert found == [
        ("vda", "/images/a.qcow2", "qcow2", None),
        ("vdb", "/dev/vg/b", "raw", None),
        ("vdc", None, "raw", None),
        ("vdd", "/s.raw", "raw", "several machines share it"),
        ("sda", "/iso", "raw", "it is a cdrom"),
    ]
    assert [disk.target for disk in definition.backed_up] == ["vda", "vdb", "vdc"]


def test_restored_machine_has_an_identity_and_files_of_its_own() -> None:
    identity = Identity("copy", "aaaaaaaa-2222-4333-8444-555555555555", True)
    xml = rewritten(
        DEFINITION,
        identity=identity,
        disks={"vda": (Path("/new/a.qcow2"), "qcow2"), "vdb": (Path("/new/b.img"), "raw")},
        nvram=Path("/new/VARS.fd"),
    )
    definition = read_definition(xml)
    assert (definition.name, definition.uuid) == (identity.name, identity.uuid)
    assert (definition.nvram, definition.mark) == ("/new/VARS.fd", None)
    assert [(disk.target, disk.path) for disk in definition.disks] == [
        ("vda", "/new/a.qcow2"),
        ("vdb", "/new/b.img"),
        ("sda", None),
    ]
    for stale in ("11111111", "99999999", "52:54", "backingStore", "/run/7", "id='7'", "/dev/vg"):
        assert stale not in xml
    assert "<genid/>" in xml


def test_machine_restored_as_itself_keeps_its_identifiers() -> None:
    xml = rewritten(DEFINITION, identity=None, disks={}, nvram=None)
    assert "52:54:00:00:00:01" in xml
    assert xml.count("11111111-2222-4333-8444-555555555555") == 2


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("<domain>", "not well-formed"),
        ("<network/>", "is not libvirt's domain XML"),
        ("<domain/>", "has no uuid"),
        ('<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain>&x;</domain>', "type"),
    ],
)
def test_what_is_no_definition_is_refused(xml: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        read_definition(xml)


def test_machine_that_stands_by_leaves_the_owner_of_every_file_of_its_point_alone() -> None:
    point = MachinePoint("u", "web1", None, None, StoredFile("p", ""), None, ())
    standby = Standby("web1_replica", "2222", Path("/replicas"), point)
    files = {"vda": [Path("/replicas/p1.qcow2"), Path("/replicas/p0.qcow2")]}
    # On another host these would be other disks than the machine was given.
    own = (
        "<disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sdb'/></disk>"
        "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
        "<address bus='0' target='0' unit='0'/></source></hostdev><tpm "
    )
    original = DEFINITION.replace("<tpm ", own)
    made = standby_definition(original, standby, files, Labels(("dac",), "+0:+0"))
    assert "hostdev" not in made
    assert "/dev/" not in made
    root = etree.fromstring(made)
    assert len(root.findall("devices/disk")) == 2
    [disk] = [each for each in root.findall("devices/disk") if each.get("device") == "disk"]
    assert disk.find("transient") is not None
    sources = disk.findall(".//source")
    assert [each.get("file") for each in sources] == ["/replicas/p1.qcow2", "/replicas/p0.qcow2"]
    for source in sources:
        [label] = source.findall("seclabel")
        assert (label.get("model"), label.get("relabel")) == ("dac", "no")
    assert root.findtext("seclabel/label") == "+0:+0"


def test_a_machine_on_layers_names_its_whole_chain_and_leaves_its_owner_alone() -> None:
    xml = (
        "<domain type='kvm'><name>web</name><uuid>1c2d</uuid><devices><disk type='file' "
        "device='disk'><driver name='qemu' type='raw'/><source file='/old.img'/><target dev='vda'/>"
        "</disk></devices><seclabel type='dynamic' model='dac'/></domain>"
    )
    layer, moved = Path("/new/web-vda.instant.qcow2"), Path("/new/web-vda.t1.qcow2")
    made = rewritten(
        xml,
        identity=None,
        disks={"vda": (layer, "qcow2")},
        nvram=None,
        layers={"vda": [Path("/backup/p1.qcow2"), Path("/backup/p0.qcow2")]},
        labels=Labels(("dac", "selinux"), "+0:+0"),
    )
    root = etree.fromstring(made)
    below = root.find("devices/disk/backingStore")
    seen = []
    while below is not None and below.get("type") == "file":
        source = below.find("source")
        assert source is not None
        labels = {label.get("model"): label.get("relabel") for label in source.findall("seclabel")}
        assert labels == {"dac": "no", "selinux": "no"}
        assert [each.get("type") for each in below.findall("format")] == ["qcow2"]
        seen.append(source.get("file"))
        below = below.find("backingStore")
    assert seen == ["/backup/p1.qcow2", "/backup/p0.qcow2"]
    # The chain ends here: libvirt need not look.
    assert below is not None
    assert len(below) == 0
    [label] = root.findall("seclabel")
    assert (label.get("type"), label.get("relabel")) == ("static", "yes")
    assert label.findtext("label") == "+0:+0"
    assert files_in(made) == {str(layer), "/backup/p1.qcow2", "/backup/p0.qcow2"}
    alone = without_layers(made, {layer: moved}, "+0:+0")
    assert files_in(alone) == {str(moved)}
    assert "backingStore" not in alone
    assert "seclabel" not in alone
    # A label that somebody has set since stays.
    assert "+5:+5" in without_layers(made.replace("+0:+0", "+5:+5"), {layer: moved}, "+0:+0")


def test_networks_and_bridges_of_the_cards_are_told_by_name() -> None:
    cards = (
        "<interface type='network'><source network='office'/></interface>"
        "<interface type='bridge'><source bridge='br0'/></interface>"
        "<interface type='bridge'><source network='office' bridge='virbr1'/></interface>"
        "<interface type='direct'><source dev='eth0' mode='bridge'/></interface>"
        "<interface type='user'/>"
    )
    assert networks_of(f"<domain><devices>{cards}</devices></domain>") == [
        "br0",
        "office",
        "virbr1",
    ]
    assert networks_of("<domain/>") == []


_MACHINE = """
<domain type='kvm'><name>{name}</name><uuid>11111111-2222-4333-8444-555555555555</uuid>
  <os><type>hvm</type><nvram>{nvram}</nvram></os>
  <devices>{disks}</devices>
</domain>"""
_DISK = (
    "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>"
    "{more}<target dev='{target}' bus='virtio'/></disk>"
)
_BUILT_ON = "<backingStore type='file'><format type='qcow2'/><source file='/base'/></backingStore>"


def test_what_was_not_restored_in_place_is_what_the_machine_has_now() -> None:
    before = _MACHINE.format(
        name="web",
        nvram="/nvram/before",
        disks=_DISK.format(path="/a", target="vda", more=f"{_BUILT_ON}<boot order='1'/>")
        + _DISK.format(path="/b", target="vdb", more="<address type='pci' slot='0x05'/>")
        + _DISK.format(path="/c", target="vdc", more="")
        + "<disk type='file' device='cdrom'><source file='/cd'/><target dev='sda'/></disk>",
    )
    now = _MACHINE.format(
        name="web2",
        nvram="/nvram/now",
        disks=_DISK.format(path="/a", target="vda", more="")
        + _DISK.format(
            path="/moved/b", target="vdb", more="<boot order='1'/><address type='pci' slot='0x06'/>"
        )
        + "<disk type='file' device='cdrom'><source file='/cd2'/><target dev='sda'/></disk>",
    )
    xml = replaced(before, now, {"vda": (Path("/a"), "qcow2")}, None)
    definition = read_definition(xml)
    assert (definition.name, definition.nvram) == ("web2", "/nvram/now")
    assert {disk.target: disk.path for disk in definition.disks} == {
        "vda": "/a",
        "vdb": "/moved/b",
        "sda": "/cd2",
    }
    root = etree.fromstring(xml)
    assert root.findall(".//backingStore") == root.findall(".//address") == []
    # Only one disk can be the first that is booted from.
    [boot] = root.findall(".//boot")
    assert boot.getparent().find("target").get("dev") == "vda"
    xml = replaced(before, now, {"vda": (Path("/new"), "raw")}, Path("/nvram/restored"))
    definition = read_definition(xml)
    assert (definition.disks[0].path, definition.disks[0].format) == ("/new", "raw")
    assert definition.nvram == "/nvram/restored"


def test_a_disk_that_stands_alone_is_built_on_no_other() -> None:
    disks = "".join(
        _DISK.format(path=f"/{target}", target=target, more=_BUILT_ON) for target in ("vda", "vdb")
    )
    xml = _MACHINE.format(name="web", nvram="/n", disks=disks)
    alone = standing_alone(xml, {"vdb"})
    assert alone is not None
    root = etree.fromstring(alone)
    assert [each.find("backingStore") is None for each in root.iter("disk")] == [False, True]
    assert standing_alone(alone, {"vdb"}) is None
