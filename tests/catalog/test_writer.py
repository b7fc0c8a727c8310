"""Writing rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from holdfast.catalog.reader import CatalogReader
from holdfast.catalog.select import Restriction
from holdfast.catalog.store import CatalogStore
from holdfast.catalog.writer import RowState, WrongRow, put, remove
from holdfast.query.expression import Operator
from holdfast.schema.core import CORE

REPOSITORY = CORE["Repository"]
MINE, THEIRS = uuid4(), uuid4()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CatalogStore]:
    store = CatalogStore(tmp_path / "catalog.db", CORE)
    await store.open()
    yield store
    await store.close()


def repository(uid: UUID, name: str, owner: UUID, capacity: int = 1) -> RowState:
    values = {"Capacity": capacity, "FreeSpace": 0, "Kind": "LinuxLocal"}
    return RowState(uid, name, values, {"server": owner})


async def name_of(store: CatalogStore, uid: UUID) -> str | None:
    identity = (Restriction("uid", Operator.EQUAL, uid.bytes),)
    row = await CatalogReader(store).first(REPOSITORY, identity, entities=True)
    return row["Name"] if row else None


async def test_a_row_put_again_is_replaced_whole(store: CatalogStore) -> None:
    uid = uuid4()
    await store.write(lambda c: put(c, REPOSITORY, repository(uid, "First", MINE)))
    await store.write(lambda c: put(c, REPOSITORY, RowState(uid, "Second", {}, {"server": MINE})))

    identity = (Restriction("uid", Operator.EQUAL, uid.bytes),)
    row = await CatalogReader(store).first(REPOSITORY, identity, entities=True)
    assert row is not None
    assert (row["Name"], row["Capacity"]) == ("Second", None)


async def test_a_backup_server_cannot_write_over_or_remove_what_another_one_has(
    store: CatalogStore,
) -> None:
    uid = uuid4()
    await store.write(lambda c: put(c, REPOSITORY, repository(uid, "Mine", MINE)))

    await store.write(lambda c: put(c, REPOSITORY, repository(uid, "Theirs", THEIRS)))
    assert await name_of(store, uid) == "Mine"
    await store.write(lambda c: remove(c, REPOSITORY, uid, owner=THEIRS))
    assert await name_of(store, uid) == "Mine"
    await store.write(lambda c: remove(c, REPOSITORY, uid, owner=MINE))
    assert await name_of(store, uid) is None


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"Capacity": "much"}, "Capacity"),
        ({"Capacity": True}, "Capacity"),
        ({"Kind": "Floppy"}, "Kind"),
        ({"Colour": "red"}, "Colour"),
    ],
)
async def test_a_value_that_does_not_fit_is_refused_by_name_and_nothing_is_written(
    store: CatalogStore, values: dict[str, object], named: str
) -> None:
    uid = uuid4()
    with pytest.raises(WrongRow, match=named):
        await store.write(
            lambda c: put(c, REPOSITORY, RowState(uid, "Wrong", values, {"server": MINE}))
        )

    assert await name_of(store, uid) is None


async def test_a_failed_change_undoes_all_of_it(store: CatalogStore) -> None:
    uid = uuid4()

    def change(connection: object) -> None:
        put(connection, REPOSITORY, repository(uid, "Half", MINE))  # type: ignore[arg-type]
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await store.write(change)

    assert await name_of(store, uid) is None
