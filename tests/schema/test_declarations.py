"""Every declaration against the tables of what is expected, and every type written and read."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from lxml import etree

from holdfast.api.app import create_app
from holdfast.catalog.select import Restriction
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.query.expression import Operator
from holdfast.query.request import default_order
from holdfast.representation.links import address_of_related, segment
from holdfast.schema.calls import all_calls
from holdfast.schema.core import CORE, QUERY_SERVICE_ORDER
from holdfast.schema.resource import Link, ResourceType
from holdfast.schema.resources import cloud_tenants, guest_processing, schedules
from holdfast.schema.roles import Role
from holdfast.schema.types import Element, Enumeration, Structure
from schema.expected_further_types import FURTHER_DECLARED
from schema.expected_queries import ASKED
from schema.expected_types import DECLARED, STRUCTURES
from schema.generated_rows import fill, row_of, uid_of

EXPECTED = DECLARED | FURTHER_DECLARED
NAMED_STRUCTURES = {
    "schedule": schedules.SCHEDULE_OPTIONS,
    "guest": guest_processing.GUEST_PROCESSING_OPTIONS,
    "gfs": schedules.GFS_RETENTION_POLICY,
    "retention": schedules.SIMPLE_RETENTION_POLICY,
    "periods": schedules.TIME_PERIODS,
    "appliance": cloud_tenants.NETWORK_APPLIANCE,
}
#: Written like another type's, but found elsewhere.
VARIANTS = {"ObjectInCdpPolicy"}
TYPES = [resource.name for resource in CORE]
READ = [name for name in TYPES if name != "Task"]
ADDRESSED = [name for name in READ if CORE[name].addressed]
#: Rels whose links are followed with GET; those of actions are shown as they are carried out.
FOLLOWED = ("Up", "Down", "Related", "Alternate")


def shape(elements: Iterable[Element]) -> str:
    """Given elements, return them as the tables write them."""
    return " ".join(_element_shape(element) for element in elements)


def _element_shape(element: Element) -> str:
    if not isinstance(element.type, Structure):
        return element.name
    for name, structure in NAMED_STRUCTURES.items():
        if element.type is structure:
            return f"{element.name}<{name}>"
    parts = [f"@{attribute.name}" for attribute in element.type.attributes]
    parts += [_element_shape(child) for child in element.type.children]
    return f"{element.name}({' '.join(parts)})"


def link_shape(resource: ResourceType, links: Iterable[Link]) -> str:
    """Given a type and links of it, return those that are followed as the tables write them."""
    found = []
    for link in links:
        if link.rel not in FOLLOWED or link.any_of or link.kept:
            continue
        link_type = link.type
        if link_type is None and link.relation is not None:
            target = CORE.target(resource, link.relation)
            link_type = target.document_type if link.entity else target.reference_type
        found.append(f"{link.rel}:{link_type}")
    return " ".join(found)


def test_every_type_is_expected() -> None:
    assert set(TYPES) - VARIANTS == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_type_is_declared_as_expected(name: str) -> None:
    resource, expected = CORE[name], EXPECTED[name]
    above = CORE.target(resource, resource.parent).collection + "/{}" if resource.parent else ""

    assert above + resource.collection == expected.collection
    assert (resource.element_name, resource.plural) == (expected.root, expected.plural)
    assert resource.key is expected.key
    assert shape(resource.elements) == expected.elements
    assert shape(resource.attributes) == expected.attributes
    assert link_shape(resource, resource.links) == expected.links
    assert link_shape(resource, resource.reference_links) == expected.reference_links


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_is_declared_as_expected(name: str) -> None:
    structure = NAMED_STRUCTURES[name]

    assert shape(structure.children) == STRUCTURES[name]


def test_every_type_that_can_be_queried_is_expected() -> None:
    queryable = {resource.name.casefold() for resource in CORE if resource.queryable}

    assert queryable == {name.casefold() for name in ASKED}
    assert len(ASKED) == 50


@pytest.mark.parametrize("name", ASKED)
def test_query_has_its_fields_and_its_place_in_the_answer(name: str) -> None:
    resource = CORE.find(name)
    assert resource is not None
    fields = CORE.fields(resource)

    for written in ASKED[name].fields.split():
        field, _, values = written.partition("=")
        assert field.casefold() in fields, field
        found = fields[field.casefold()].type
        if values:
            assert isinstance(found, Enumeration), field
            listed = values.split("|")
            # Values that the documentation lacks may only follow those that it has.
            assert list(found.values[: len(listed)]) == listed, field
        else:
            assert not isinstance(found, Enumeration), field
    place = "Entities" if resource.key else "Resources"
    item = resource.query_item or resource.element_name
    assert f"{place}/{resource.query_container}/{item}" == ASKED[name].answer


@pytest.mark.parametrize("name", TYPES)
def test_declaration_holds_together(name: str) -> None:
    resource = CORE[name]
    relations = {relation.name: relation.target for relation in resource.relations}

    assert set(relations.values()) <= set(TYPES)
    assert default_order(CORE, resource)
    for link in (*resource.links, *resource.reference_links):
        assert link.relation is None or link.relation in relations
        if link.when is not None:
            condition = resource.value(link.when.element).type
            assert isinstance(condition, Enumeration)
            assert set(link.when.values) <= set(condition.values)
        if link.rel == "Down" and link.path is not None:
            served = {child.path.casefold() for child in resource.children}
            below = link.path.strip("/").partition("?")[0].casefold()
            # What is no collection of rows has a line of its own in the table of calls.
            place = f"{resource.collection}/{{id}}/{below}"
            assert below in served or any(call.built for call in all_calls().at("GET", place))
    for child in resource.children:
        target = CORE[child.target]
        if child.relation is not None:
            target.relation(child.relation)
        if child.mentioned_in is not None:
            assert isinstance(target.value(child.mentioned_in).type, Structure)
        if target.parent is not None:
            assert child.path == target.collection.strip("/")
            assert target.parent == child.relation


def test_services_list_known_types_once() -> None:
    assert len(QUERY_SERVICE_ORDER) == len(set(QUERY_SERVICE_ORDER))
    assert set(QUERY_SERVICE_ORDER) <= set(TYPES)
    assert len(QUERY_SERVICE_ORDER) == 40
    assert all(CORE[name].queryable for name in QUERY_SERVICE_ORDER)


# Rows of every type ------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EnterpriseManager]:
    manager = EnterpriseManager(tmp_path_factory.mktemp("manager"))
    await manager.start()
    await manager.store.write(fill)
    await manager.accounts.create("admin", "secret", Role.PORTAL_ADMINISTRATOR)
    yield manager
    await manager.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(manager: EnterpriseManager) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(manager))
    async with httpx.AsyncClient(
        transport=transport, base_url="https://localhost:9398/api"
    ) as client:
        answer = await client.post("/sessionMngr/?v=latest", auth=("admin", "secret"))
        client.cookies.clear()
        client.headers["X-RestSvcSessionId"] = answer.headers["X-RestSvcSessionId"]
        yield client


module_loop = pytest.mark.asyncio(loop_scope="module")


def address(resource: ResourceType) -> str:
    """Given a type, return the address of its row below the API."""
    above = ""
    if resource.parent is not None:
        target = CORE.target(resource, resource.parent)
        row = {f"{resource.parent}.UID": uid_of(target.name), f"{resource.parent}.Name": None}
        row[f"{resource.parent}.Name"] = f"{target.name} 1"
        above = address_of_related(target, resource.parent)(row)
    if resource.named:
        return f"{above}{resource.collection}/{segment(f'{resource.name} 1')}"
    known_by = uid_of(resource.name)
    if resource.identifier != "UID":
        known_by = row_of(resource).values[resource.identifier]
    return f"{above}{resource.collection}/{known_by}"


def local(element: Any) -> str:
    """Given an element, return its name without the namespace."""
    return str(etree.QName(element).localname)


@module_loop
@pytest.mark.parametrize("name", READ)
async def test_row_is_read_as_it_was_written(manager: EnterpriseManager, name: str) -> None:
    resource = CORE[name]
    identity = Restriction("uid", Operator.EQUAL, uid_of(name).bytes)
    row = await manager.reader.first(resource, (identity,), entities=True)

    assert row is not None
    written = row_of(resource)
    assert {key: row[key] for key in written.values} == dict(written.values)
    for element in resource.stored:
        assert row[element.name] is not None


@module_loop
@pytest.mark.parametrize("name", ADDRESSED)
async def test_entity_holds_its_elements_in_order(client: httpx.AsyncClient, name: str) -> None:
    resource = CORE[name]
    path = f"{address(resource)}?format=Entity"
    xml = await client.get(path, headers={"Accept": "application/xml"})
    json = await client.get(path, headers={"Accept": "application/json"})

    assert (xml.status_code, json.status_code) == (200, 200), xml.text
    root = etree.fromstring(xml.content)
    assert local(root) == resource.element_name
    expected: list[str] = ["Links"] if resource.links else []
    for element in resource.elements:
        expected += [element.name] * (2 if element.repeated else 1)
    assert [local(child) for child in root] == expected
    attributes = {"Href", *(attribute.name for attribute in resource.attributes)}
    attributes |= {"Type"} if resource.typed else set()
    attributes |= {"Name", "UID"} if resource.key else set()
    assert set(root.attrib) == attributes
    members = [member for member in json.json() if member not in {*attributes, "Type"}]
    first = [e.name for e in resource.elements if e.name in resource.json_first]
    rest = [e.name for e in resource.elements if e.name not in resource.json_first]
    known = [name for name in (*first, *rest, "Links") if name not in attributes]
    assert members == known
    assert json.json()["Href"] == root.get("Href")


@module_loop
@pytest.mark.parametrize("name", [name for name in READ if CORE[name].key])
async def test_reference_holds_links_alone(client: httpx.AsyncClient, name: str) -> None:
    resource = CORE[name]
    xml = await client.get(address(resource), headers={"Accept": "application/xml"})
    json = await client.get(address(resource), headers={"Accept": "application/json"})

    root = etree.fromstring(xml.content)
    assert local(root) == "EntityRef"
    assert [local(child) for child in root] == ["Links"]
    assert root.get("Type") == json.json()["Type"] == f"{resource.document_type}Reference"
    identity = f"{name} 1" if resource.named else str(uid_of(name))
    assert root.get("UID") == json.json()["UID"] == f"urn:veeam:{resource.document_type}:{identity}"


@module_loop
@pytest.mark.parametrize("name", ADDRESSED)
async def test_links_that_are_followed_lead_somewhere(client: httpx.AsyncClient, name: str) -> None:
    resource = CORE[name]
    for form in ("Entity", "Reference") if resource.key else ("Entity",):
        document = (
            await client.get(
                f"{address(resource)}?format={form}", headers={"Accept": "application/json"}
            )
        ).json()
        for link in document["Links"]:
            if link["Rel"] in FOLLOWED:
                answer = await client.get(link["Href"])
                # Mounts are the backup server's to tell, and there is none here.
                expected = 503 if link["Href"].endswith("/mounts") else 200
                assert answer.status_code == expected, link


@module_loop
@pytest.mark.parametrize("name", ASKED)
async def test_every_field_can_be_sorted_by(client: httpx.AsyncClient, name: str) -> None:
    for field in re.sub(r"=\S+", "", ASKED[name].fields).split():
        answer = await client.get(f"/query?type={name}&format=Entities&sortDesc={field}")
        assert answer.status_code == 200, answer.text
    place, container, item = (ASKED[name].answer).split("/")
    root = etree.fromstring((await client.get(f"/query?type={name}&format=Entities")).content)
    if name != "Task":
        assert [local(part) for part in (root[0], root[0][0], root[0][0][0])] == [
            place,
            container,
            item,
        ]


CHILDREN = [(resource.name, child.path) for resource in CORE for child in resource.children]


@module_loop
@pytest.mark.parametrize(("name", "path"), CHILDREN)
async def test_sub_collection_holds_its_row(
    client: httpx.AsyncClient, name: str, path: str
) -> None:
    child = next(child for child in CORE[name].children if child.path == path)
    target = CORE[child.target]
    answer = await client.get(f"{address(CORE[name])}/{path}?format=Entity")

    assert answer.status_code == 200, answer.text
    root = etree.fromstring(answer.content)
    assert local(root) == target.plural
    # A session belongs to one kind of job at a time; the rows here belong to jobs proper.
    expected = 0 if name in ("NasJob", "AgentBackupJob") and path == "backupSessions" else 1
    assert len(root) == expected


VIEWS = [
    (view.plural or resource.plural, view.path) for resource in CORE for view in resource.views
]


@module_loop
@pytest.mark.parametrize(("plural", "path"), VIEWS)
async def test_view_holds_the_rows_of_its_type_that_it_is_for(
    client: httpx.AsyncClient, plural: str, path: str
) -> None:
    answer = await client.get(f"{path}?format=Entity")

    assert answer.status_code == 200
    root = etree.fromstring(answer.content)
    assert local(root) == plural
    # The rows are of the last kinds: a session of a file share job, backups of another platform.
    assert len(root) == (1 if path in ("/nas/backupSessions", "/cdpReplica/vms") else 0)


@module_loop
async def test_list_of_paths_is_flat_in_json(client: httpx.AsyncClient) -> None:
    answer = await client.get(address(CORE["ObjectInJob"]), headers={"Accept": "application/json"})

    options = answer.json()["GuestProcessingOptions"]
    assert options["ExcludedIndexingFolders"] == ["Path & é", "Path & é"]


@module_loop
async def test_tenants_of_a_hardware_plan_are_always_entities(client: httpx.AsyncClient) -> None:
    plan = address(CORE["CloudHardwarePlan"])
    answer = await client.get(f"{plan}/tenants")

    assert local(etree.fromstring(answer.content)) == "CloudTenants"


@module_loop
async def test_part_of_a_structure_can_be_asked_for(client: httpx.AsyncClient) -> None:
    found = await client.get("/query?type=CloudSubtenant&filter=Quota==7")
    missed = await client.get("/query?type=CloudSubtenant&filter=Quota==8")

    assert len(etree.fromstring(found.content)[0][0]) == 1
    assert len(etree.fromstring(missed.content)[0][0]) == 0
