"""Bringing a catalog's tables to the present shape."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine


def migrate(engine: Engine) -> None:
    """Given a database, apply the migrations it has not seen. An empty one gets all tables."""
    config = Config()
    config.set_main_option("script_location", "holdfast.catalog:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
