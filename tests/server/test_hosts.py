"""Hosts of virtual machines: added, looked at, changed, removed; what is shown of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from holdfast.server.hosts import RESCAN
from holdfast.server.libvirt_references import (
    host_reference,
    machine_reference,
    read_reference,
    tag_reference,
)
from holdfast.server.messages import Change

from .lab import HandClock, Lab, running_lab
from .toy_platform import HERE, THERE, ToyHost, ToyPlatform


@pytest.fixture
async def lab(tmp_path: Path, clock: HandClock, platform: ToyPlatform) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path, clock, platform=platform) as lab:
        yield lab


@pytest.fixture
def here(platform: ToyPlatform) -> ToyHost:
    return platform.hosts[HERE]


@pytest.fixture
def there(platform: ToyPlatform) -> ToyHost:
    return platform.hosts[THERE]


async def add_host(lab: Lab, uri: str = HERE, **more: object) -> UUID:
    outcome = await lab.command("add-host", uri=uri, **more)
    assert outcome.success, outcome.message
    assert outcome.made is not None
    assert outcome.made.type == "ManagedServer"
    return outcome.made.uid


async def shown(lab: Lab) -> dict[str, str]:
    """The names in the hierarchy by reference, without the server's own host."""
    items = await lab.resources("HierarchyItem")
    found = {each.values["ObjectRef"]: each.values["ObjectName"] for each in items}
    return {reference: name for reference, name in found.items() if "Libvirt" in reference}


async def managed(lab: Lab, uid: UUID) -> Change:
    return await lab.resource("ManagedServer", uid)


async def test_an_added_host_is_shown_with_its_facts_and_its_machines(
    lab: Lab, here: ToyHost
) -> None:
    web, db = here.add("web", "gold", "linux: x"), here.add("db", "Gold")
    uid = await add_host(lab, description="First")
    host = await managed(lab, uid)
    assert host.name == "kvm1"
    assert host.values["Uri"] == HERE
    assert host.values["Description"] == "First"
    assert host.values["State"] == "Available"
    assert host.values["HypervisorVersion"] == "7.2.19"
    assert host.values["Acceleration"] == "tcg"
    assert (await lab.resource("HierarchyRoot", uid)).relations == {"managed_server": uid}
    assert await shown(lab) == {
        host_reference(uid): "kvm1",
        machine_reference(uid, web): "web",
        machine_reference(uid, db): "db",
        tag_reference(uid, "Gold"): "Gold",
        tag_reference(uid, "linux: x"): "linux: x",
    }
    items = await lab.resources("HierarchyItem")
    assert {
        each.relations["hierarchy_root"] for each in items if "Libv" in each.values["ObjectRef"]
    }
    assert {each.values["ObjectType"] for each in items} == {"Host", "Vm", "Tag"}


async def test_a_host_that_does_not_answer_is_not_added(lab: Lab, here: ToyHost) -> None:
    here.away = True
    outcome = await lab.command("add-host", uri=HERE)
    assert not outcome.success
    assert "no route to the host" in outcome.message
    assert len(await lab.resources("ManagedServer")) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"uri": "http://host/system"}, "uri: "),
        ({"uri": "qemu+ssh:///system"}, "uri: "),
        ({"uri": HERE, "name": "x" * 256}, "name: "),
        ({"uri": HERE, "description": "x" * 2000}, "description: "),
        ({"uri": HERE, "credentials": str(uuid4())}, "credentials: "),
        ({"uri": THERE}, 'uri: host "kvm2"'),
        ({"uri": HERE, "name": "KVM2"}, 'name: there is a host named "kvm2"'),
    ],
)
async def test_what_a_host_cannot_be_is_refused_by_its_field(
    lab: Lab, arguments: dict[str, str], reason: str
) -> None:
    await add_host(lab, THERE)
    outcome = await lab.command("add-host", **arguments)
    assert not outcome.success
    assert reason in outcome.message


async def test_a_rescan_sees_new_renamed_and_deleted_machines(lab: Lab, here: ToyHost) -> None:
    old, kept = here.add("old", "silver"), here.add("kept")
    uid = await add_host(lab)
    del here.machines[old]
    here.add("renamed", uuid=kept)
    new = here.add("new")
    assert (await lab.command("rescan-host", uid)).success
    assert await shown(lab) == {
        host_reference(uid): "kvm1",
        machine_reference(uid, kept): "renamed",
        machine_reference(uid, new): "new",
    }


async def test_a_moved_machine_is_shown_where_it_is(
    lab: Lab, here: ToyHost, there: ToyHost
) -> None:
    machine = here.add("web")
    first, second = await add_host(lab, HERE), await add_host(lab, THERE)
    there.machines[machine] = here.machines.pop(machine)
    assert (await lab.command("rescan-host")).success
    found = await shown(lab)
    assert machine_reference(first, machine) not in found
    assert found[machine_reference(second, machine)] == "web"


async def test_all_hosts_are_looked_at_now_and_then(
    lab: Lab, clock: HandClock, here: ToyHost
) -> None:
    uid = await add_host(lab)
    machine = here.add("new")
    clock.advance(RESCAN)

    async def seen() -> bool:
        return machine_reference(uid, machine) in await shown(lab)

    await lab.until(seen)


async def test_a_host_that_is_away_keeps_what_is_known_of_it(lab: Lab, here: ToyHost) -> None:
    machine = here.add("web")
    uid = await add_host(lab)
    here.away = True
    outcome = await lab.command("rescan-host", uid)
    assert not outcome.success
    assert "no route" in outcome.message
    host = await managed(lab, uid)
    assert host.values["State"] == "Unavailable"
    assert "no route" in host.values["Reason"]
    assert machine_reference(uid, machine) in await shown(lab)
    here.away = False
    probes = here.probes
    assert (await lab.command("rescan-host", uid)).success
    assert (await managed(lab, uid)).values["State"] == "Available"
    assert here.probes == probes + 1


async def test_a_host_that_hangs_keeps_nobody_else_waiting(
    lab: Lab, clock: HandClock, here: ToyHost, there: ToyHost
) -> None:
    await add_host(lab, HERE)
    second = await add_host(lab, THERE)
    here.hanging = True
    machine = there.add("web")
    clock.advance(RESCAN)

    async def seen() -> bool:
        return machine_reference(second, machine) in await shown(lab)

    await lab.until(seen)
    # The fixture proves that the server stops nevertheless.


async def test_a_host_is_changed_and_asked_at_its_new_address_first(
    lab: Lab, here: ToyHost, there: ToyHost
) -> None:
    uid = await add_host(lab)
    machine = there.add("web")
    there.away = True
    refused = await lab.command("edit-host", uid, uri=THERE)
    assert not refused.success
    there.away = False
    assert (await lab.command("edit-host", uid, uri=THERE, name="Berlin")).success
    host = await managed(lab, uid)
    assert (host.name, host.values["Uri"]) == ("Berlin", THERE)
    assert (await shown(lab))[machine_reference(uid, machine)] == "web"
    here.away = there.away = True
    assert (await lab.command("edit-host", uid, description="Away")).success


async def test_credentials_reach_the_host_and_are_kept_while_it_has_them(
    lab: Lab, platform: ToyPlatform
) -> None:
    made = (await lab.command("create-credentials", username="op", password="pw")).made
    assert made is not None
    uid = await add_host(lab, credentials=str(made.uid))
    assert (platform.asked[-1].username, platform.asked[-1].password) == ("op", "pw")
    assert "pw" not in repr(platform.asked[-1])
    refused = await lab.command("delete-credentials", made.uid)
    assert 'Host "kvm1"' in refused.message
    assert (await lab.command("edit-host", uid, credentials=None)).success
    assert (await lab.command("delete-credentials", made.uid)).success


async def test_a_host_is_removed_unless_a_job_has_something_of_it(
    lab: Lab, here: ToyHost, clock: HandClock
) -> None:
    machine = here.add("web", "gold")
    uid = await add_host(lab)
    objects = [{"reference": tag_reference(uid, "gold")}]
    outcome = await lab.command(
        "create-job", name="Nightly", objects=objects, repository=str(lab.repository)
    )
    assert outcome.made is not None, outcome.message
    refused = await lab.command("remove-host", uid)
    assert not refused.success
    assert 'Job "Nightly"' in refused.message
    assert (await lab.command("delete-job", outcome.made.uid)).success
    assert (await lab.command("remove-host", uid)).success
    assert await shown(lab) == {}
    assert uid not in {each.uid for each in await lab.resources("HierarchyRoot")}
    assert uid not in {each.uid for each in await lab.resources("ManagedServer")}
    assert not (await lab.command("remove-host", uid)).success
    assert not (await lab.command("rescan-host", uid)).success
    clock.advance(timedelta(hours=1))
    assert machine


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "urn:Libvirt:Vm:x.y",
        "urn:Libvirt:Vm:{root}",
        "urn:Libvirt:Host:{root}.web",
        "urn:VMware:Vm:{root}.x",
    ],
)
def test_what_is_no_reference_of_a_host_is_told_apart(reference: str) -> None:
    assert read_reference(reference.format(root=uuid4())) is None
