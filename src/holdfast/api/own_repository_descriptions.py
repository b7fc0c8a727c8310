"""Descriptions of the calls about repositories."""

from __future__ import annotations

from holdfast.api.description import Body, Operation
from holdfast.api.own_shapes import STARTED, TEXT, components_of
from holdfast.representation.json_schema import JsonSchema, named
from holdfast.schema.roles import ADMINISTRATOR
from holdfast.server.messages import RepositoryImport


def _schemas() -> dict[str, JsonSchema]:
    found = components_of(RepositoryImport)
    found[RepositoryImport.__name__]["properties"] |= {
        "server": TEXT | {"description": "The backup server's UID; needed with more than one."},
        "password": TEXT
        | {"description": "Opens backups of directories that no known password opens."},
    }
    return found


#: The schemas of bodies, by component name.
SCHEMAS = _schemas()

IMPORT = {
    "POST": Operation(
        "Make known the restore points that another server has made in a repository",
        "Holdfast",
        STARTED,
        ADMINISTRATOR,
        body=Body(named(RepositoryImport.__name__), required=True),
    )
}
