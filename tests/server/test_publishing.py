"""What is published is what the schema declares, by name and by value."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from holdfast.schema.core import CORE
from holdfast.schema.types import (
    Boolean,
    DateTime,
    Element,
    Enumeration,
    Guid,
    Integer,
    Real,
    Structure,
    Type,
    Uid,
)
from holdfast.server.clock import milliseconds
from holdfast.server.messages import Change
from holdfast.server.names import clone_name, restore_point_name
from holdfast.server.publish import compress_ratio

from .lab import HandClock, Lab, write_image

PUBLISHED = {
    "Backup",
    "BackupFile",
    "BackupJobSession",
    "BackupTaskSession",
    "HierarchyItem",
    "HierarchyRoot",
    "Job",
    "ManagedServer",
    "ObjectInJob",
    "Repository",
    "RestorePoint",
    "VmRestorePoint",
}
SCHEDULES: list[dict[str, Any] | None] = [
    None,
    {"type": "Daily", "time": "22:00:00", "kind": "SelectedDays", "days": ["Monday"]},
    {"type": "Periodically", "every": 15, "kind": "Minutes"},
]


@pytest.mark.parametrize("schedule", SCHEDULES)
async def test_all_that_is_published_is_in_the_schema(
    lab: Lab, schedule: dict[str, Any] | None
) -> None:
    write_image(lab.source("a.raw"), 1)
    job = await lab.create_job("a.raw", "missing.raw", schedule=schedule)
    await lab.run(job)
    shown = [change for change in await lab.feed() if not change.removed]
    assert {change.type for change in shown} == PUBLISHED
    for change in shown:
        _check(change)


def _check(change: Change) -> None:
    resource = CORE[change.type]
    declared = {element.name: element for element in resource.values}
    assert set(change.values) <= set(declared), change.type
    required = {name for name, element in declared.items() if not element.optional}
    assert required <= set(change.values), change.type
    for name, value in change.values.items():
        _check_value(declared[name].type, value, f"{change.type}.{name}")
    for relation in change.relations:
        assert resource.relation(relation).name != "server"
    expected = {relation.name for relation in resource.relations} - {"server"}
    # The first two are there only when there is a point, the others never yet.
    absent = expected - set(change.relations)
    assert absent <= {
        "restore_point",
        "point",
        "external_repository",
        "parent_backup",
        "parent_session",
    }, change.type


def _check_value(declared: Type, value: Any, where: str) -> None:
    match declared:
        case Structure():
            _check_structure(declared, value, where)
        case Enumeration():
            assert value in declared.names, where
        case Boolean():
            assert type(value) is bool, where
        case Integer() | DateTime():
            assert type(value) is int, where
        case Real():
            assert type(value) is float, where
        case Uid() | Guid():
            assert str(UUID(value)) == value, where
        case _:
            assert type(value) is str, where


def _check_structure(declared: Structure, value: dict[str, Any], where: str) -> None:
    parts: dict[str, Element] = {e.name: e for e in (*declared.attributes, *declared.children)}
    assert set(value) <= {*parts, declared.text}, where
    assert {name for name, part in parts.items() if not part.optional} <= set(value), where
    for name, part in value.items():
        if name == declared.text:
            assert type(part) is str, where
            continue
        for each in part if parts[name].repeated else [part]:
            _check_value(parts[name].type, each, f"{where}.{name}")


async def test_a_backup_file_tells_its_place_and_its_sizes(lab: Lab) -> None:
    write_image(lab.source("a.raw"), 1)
    await lab.run(await lab.create_job("a.raw"))
    [file] = await lab.resources("BackupFile")
    [path] = lab.repository_path.glob("*/*.qcow2")
    assert file.values["FilePath"] == str(path)
    assert file.values["BackupSize"] == path.stat().st_size
    assert file.values["FileType"] == "vbk"


def test_names_are_those_that_clients_read() -> None:
    clock = HandClock()
    moment = clock.now().replace(month=8, day=26, hour=7, minute=57)
    assert restore_point_name(milliseconds(moment)) == "Aug 26 2026  7:57AM"
    assert restore_point_name(milliseconds(moment.replace(day=6, hour=0))) == "Aug  6 2026 12:57AM"
    assert clone_name(moment.replace(hour=15)) == "Cloned job (8/26/2026 3:57:00 PM)"


def test_the_ratio_of_an_unknown_size_is_one() -> None:
    assert compress_ratio(200, 100) == 2.0
    assert compress_ratio(0, 100) == 1.0
