"""The migrations make the tables that the schema declares."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from holdfast.catalog.migration import migrate
from holdfast.catalog.tables import metadata_for
from holdfast.schema.core import CORE


def test_migrated_tables_are_those_of_the_schema(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/catalog.db")
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_name": lambda name, kind, _: (kind, name) != ("table", "alembic_version")
            },
        )
        differences = compare_metadata(context, metadata_for(CORE))
    engine.dispose()

    assert differences == []


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/catalog.db")
    migrate(engine)
    before = (tmp_path / "catalog.db").read_bytes()
    migrate(engine)
    engine.dispose()

    assert (tmp_path / "catalog.db").read_bytes() == before
