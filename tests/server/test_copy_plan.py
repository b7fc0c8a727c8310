"""Which points a copy job takes, and in which order. Without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from holdfast.server.copy_plan import _Files, _missing
from holdfast.server.keeping import Policy

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def row(created: int) -> Any:
    return SimpleNamespace(uid=uuid4(), created=created, copied_from=None, made=None)


def test_what_any_disk_of_a_point_is_built_on_is_copied_before_it() -> None:
    first, second, third = (row(created) for created in (1, 2, 3))
    vda, vdb = uuid4(), uuid4()
    built_on: dict[UUID, list[UUID]] = {first.uid: [], second.uid: [], third.uid: [vda, vdb]}
    files = _Files({}, built_on, {vda: first.uid, vdb: second.uid})
    assert _missing([], [first, second, third], Policy(1), NOW, files) == [first, second, third]
    copied = SimpleNamespace(uid=uuid4(), created=1, copied_from=first.uid, made=None)
    assert _missing([copied], [first, second, third], Policy(1), NOW, files) == [second, third]
