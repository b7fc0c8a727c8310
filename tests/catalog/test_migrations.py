"""The migrations make the tables that the schema declares."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

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


def test_accounts_of_the_first_schema_keep_their_role_and_may_restore_all(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/catalog.db")
    config = Config()
    config.set_main_option("script_location", "holdfast.catalog:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        insert = text(
            "INSERT INTO account (uid, name, name_key, password_hash, role, created)"
            " VALUES (:uid, :name, :name, 'hash', :role, 0)"
        )
        connection.execute(insert, {"uid": b"1" * 16, "name": "admin", "role": "Portal User"})
        connection.execute(insert, {"uid": b"2" * 16, "name": "nobody", "role": None})
    migrate(engine)
    with engine.connect() as connection:
        accounts = connection.execute(
            text(
                "SELECT name, kind, allow_restore_all_vms, role FROM account"
                " LEFT JOIN account_role ON account_uid = uid ORDER BY name"
            )
        ).fetchall()
    engine.dispose()

    assert [tuple(account) for account in accounts] == [
        ("admin", "User", 1, "Portal User"),
        ("nobody", "User", 1, None),
    ]
