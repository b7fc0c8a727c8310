"""What a route says of itself: the material of the OpenAPI document and the reference page."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

from holdfast.representation.json_schema import named
from holdfast.schema import resources
from holdfast.schema.resource import ResourceType
from holdfast.schema.roles import EVERYONE, Role

#: The area of what belongs to no resource type.
ENTRY_AREA = "Entry"


class Logon(Enum):
    """What a caller must show."""

    NOTHING = "nothing"
    PASSWORD = "user name and password"  # noqa: S105 - the name of a kind of proof
    SESSION = "a logon session"


@dataclass(frozen=True)
class Parameter:
    """A query parameter; `schema` is the JSON Schema of its value."""

    name: str
    text: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True)
class Answer:
    """What is answered: the schema of the JSON and the root of the XML, where there are any.

    Without a root the answer is JSON alone. `media` is the content type of one that is, or may be,
    neither.
    """

    text: str
    json: Mapping[str, Any] | None = None
    root: str | None = None
    media: str | None = None


@dataclass(frozen=True)
class Body:
    """What a request may or must carry: the schema of the JSON and the root of the XML, if any."""

    json: Mapping[str, Any]
    root: str | None = None
    required: bool = False


@dataclass(frozen=True)
class ActionChoice:
    """One of the actions of a method: its name, the operation of its task, who may start it."""

    name: str
    operation: str
    roles: frozenset[Role]
    body: str | None = None


@dataclass(frozen=True)
class Operation:
    """What one method of a path does. `roles` may do it; errors go without saying.

    A `deprecated` one is served for clients that know no better. One that is not `built` is known
    and answered with 501; of one that is, `unbuilt_values` are those values of its parameter that
    are. One that `asks_server` is answered with 503 while the backup server concerned is down.
    """

    summary: str
    area: str
    answers: Mapping[int, Answer]
    roles: frozenset[Role] = EVERYONE
    logon: Logon = Logon.SESSION
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    actions: tuple[ActionChoice, ...] = ()
    deprecated: bool = False
    built: bool = True
    unbuilt_values: tuple[str, ...] = ()
    asks_server: bool = False


#: Descriptions of the methods of one path.
Operations = Mapping[str, Operation]


def document(root: str, text: str, component: str | None = None) -> Answer:
    """Given the root of a document, return the answer that it is.

    `component` names the schema of its JSON where that has another name than the root.
    """
    return Answer(text, named(component or root), root)


def area_of(resource: ResourceType) -> str:
    """Given a type, return the area it is declared in, as a heading."""
    return _areas().get(resource, "Other")


@lru_cache(maxsize=1)
def _areas() -> dict[ResourceType, str]:
    """The declarations are grouped by module as the API groups them."""
    found: dict[ResourceType, str] = {}
    for module in pkgutil.iter_modules(resources.__path__):
        declared = importlib.import_module(f"{resources.__name__}.{module.name}")
        for value in vars(declared).values():
            if isinstance(value, ResourceType):
                found.setdefault(value, module.name.replace("_", " ").capitalize())
    return found
