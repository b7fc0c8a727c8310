"""The XML schema: it is a schema, it is for anybody, and it refuses what is wrong.

That all answers of all tests are valid is seen to by `support.managers.client_of`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from holdfast.representation import shapes
from holdfast.representation.xsd import xml_schema
from holdfast.schema.core import CORE
from holdfast.schema.naming import XML_NAMESPACE
from holdfast.schema.resources.reports import FRAMES
from holdfast.schema.services import SERVICES
from support.managers import client_of, running_manager
from support.xsd import validator

ROOTS = {
    "FileSystemEntry",
    "FileSystemEntries",
    "VmReplicaPointMount",
    "VmReplicaPointMounts",
    "VmRestorePointMount",
    "VmRestorePointMounts",
    "EntityRef",
    "EntityReferences",
    "QueryResult",
    "Error",
    "SystemSessionEvents",
    *(resource.element_name for resource in CORE),
    *(container.name for container in shapes.collections(CORE)),
    *(service.root for service in SERVICES),
    *(service.plural for service in SERVICES if service.plural is not None),
    *(frame.root.name for frame in FRAMES),
}

GUID = "7445e6ce-86f5-4171-b909-dac209c66563"
FILE = f"""
<BackupFile xmlns="{XML_NAMESPACE}" Type="BackupFile" Href="http://h/api/backupFiles/{GUID}"
 Name="a" UID="urn:veeam:BackupFile:{GUID}"><Links><Link Rel="Up" Href="http://h/api/" /></Links>
<FilePath>a</FilePath><BackupSize>1</BackupSize><DataSize>1</DataSize>
<DeduplicationRatio>1.5</DeduplicationRatio><CompressRatio>1</CompressRatio>
<CreationTimeUtc>2021-06-05T01:04:29.56Z</CreationTimeUtc><FileType>vbk</FileType></BackupFile>
"""


async def test_schema_is_for_anybody_and_declares_every_root(tmp_path: Path) -> None:
    async with running_manager(tmp_path) as manager, client_of(manager) as client:
        answer = await client.get("/api/schema.xsd")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert answer.content == xml_schema(CORE)
    root = etree.fromstring(answer.content)
    etree.XMLSchema(root)
    declared = {str(e.get("name")) for e in root if etree.QName(e).localname == "element"}
    assert declared == ROOTS


def test_valid_document_is_valid() -> None:
    assert validator(CORE).validate(etree.fromstring(FILE)), validator(CORE).error_log


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("<FilePath>a</FilePath>", "", id="an element is missing"),
        pytest.param("<FilePath>a</FilePath>", "<FilePath/><FilePath/>", id="one is twice"),
        pytest.param("</FilePath>", "</FilePath><Own/>", id="one is unknown"),
        pytest.param(
            "<BackupSize>1</BackupSize><DataSize>1</DataSize>",
            "<DataSize>1</DataSize><BackupSize>1</BackupSize>",
            id="two are the wrong way round",
        ),
        pytest.param(">vbk<", ">vhd<", id="a value is not of the enumeration"),
        pytest.param("29.56Z", "29.56", id="a moment has no zone"),
        pytest.param("29.56Z", "29.56+01:00", id="a moment is not in UTC"),
        pytest.param("29.56Z", "29.5612Z", id="a moment is too fine"),
        pytest.param("<BackupSize>1<", "<BackupSize>1.5<", id="a number is not whole"),
        pytest.param("urn:veeam:BackupFile:", "urn:veeam:Backup:", id="the UID is another type's"),
        pytest.param(' Name="a"', "", id="an attribute is missing"),
        pytest.param(' Name="a"', ' Name="a" Own="b"', id="an attribute is unknown"),
        pytest.param('Type="BackupFile"', 'Type="Backup"', id="the Type is another"),
        pytest.param('Rel="Up" ', "", id="a link has no Rel"),
    ],
)
def test_document_is_invalid_when(right: str, wrong: str) -> None:
    assert FILE.count(right) == 1
    assert not validator(CORE).validate(etree.fromstring(FILE.replace(right, wrong)))
