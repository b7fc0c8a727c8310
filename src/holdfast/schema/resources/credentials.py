"""What a backup server logs on with and encrypts with. No secret is ever among the values."""

from __future__ import annotations

from holdfast.schema.resource import Field, Link, Relation, ResourceType, through
from holdfast.schema.resources.links import up_to_entity
from holdfast.schema.types import DATE_TIME, GUID, STRING, Element, structure

CREDENTIALS = ResourceType(
    name="Credentials",
    root="CredentialsInfo",
    plural="CredentialsInfoList",
    container="CredentialsList",
    collection="/credentials",
    key=False,
    identifier="Id",
    parent="server",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Id", GUID, stored_as="credentials_id"),
        Element("Username", STRING, optional=True),
        Element("Description", STRING, optional=True),
        Element("Password", STRING, optional=True),  # has its place, and is never filled
    ),
    fields=(Field("CredentialsId", "Id"), *through("server", "BackupServer")),
    links=(
        up_to_entity("server"),
        Link("Edit", "Credentials", path=""),
        Link("Delete", "Credentials", path=""),
    ),
    default_sort="Username",
    query_service_sort="BackupServerUid",
)

PASSWORD_KEY = ResourceType(
    name="Passwords",
    type_name="PasswordKey",
    root="PasswordKeyInfo",
    plural="PasswordKeyInfoList",
    collection="/passwords",
    key=False,
    identifier="Id",
    parent="server",
    relations=(Relation("server", "BackupServer"),),
    elements=(
        Element("Id", GUID, stored_as="password_key_id"),
        Element("Hint", STRING),
        Element("LastModificationDate", DATE_TIME),
    ),
    fields=(Field("PasswordKeyID", "Id"), *through("server", "BackupServer")),
    links=(
        up_to_entity("server"),
        Link("Edit", "PasswordKey", path=""),
        Link("Delete", "PasswordKey", path=""),
    ),
    default_sort="Hint",
    query_service_sort="BackupServerUid",
)

_USERNAME = Element("Username", STRING, optional=True)
_DESCRIPTION = Element("Description", STRING, optional=True)
_SECRET = Element("Password", STRING, optional=True)

#: Bodies of requests: what to make, and for credentials, a document as it was read, changed.
CREDENTIALS_SPEC = Element("CredentialsInfoSpec", structure(_USERNAME, _DESCRIPTION, _SECRET))
CREDENTIALS_CHANGE = Element(
    "CredentialsInfo",
    structure(Element("Id", STRING, optional=True), _USERNAME, _DESCRIPTION, _SECRET),
)
PASSWORD_KEY_SPEC = Element(
    "PasswordKeyInfoSpec", structure(Element("Hint", STRING, optional=True), _SECRET)
)
