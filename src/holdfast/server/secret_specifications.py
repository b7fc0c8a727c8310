"""What a command says of credentials and passwords. What is left out stays as it is."""

from __future__ import annotations

from typing import Annotated

import msgspec

ShortText = Annotated[str, msgspec.Meta(max_length=512)]
LongText = Annotated[str, msgspec.Meta(max_length=4096)]


class CredentialsSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials: a user name, and what proves it."""

    username: ShortText | None = None
    description: LongText | None = None
    password: LongText | None = None


class PasswordSpecification(msgspec.Struct, frozen=True, kw_only=True):
    """A password for encryption. Its hint is all that is ever shown."""

    hint: LongText | None = None
    password: LongText | None = None
