"""Every setting, declared once: from flags, the environment and a file, in this order.

A flag wins over the variable ``HOLDFAST_<NAME>``, the variable over ``<data>/holdfast.toml``, the
file over the default written here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from holdfast.cli.errors import BadInput

FILE_NAME = "holdfast.toml"
PREFIX = "HOLDFAST_"

#: Settings that the file may not hold: where the file is, and what does not belong in one.
NOT_IN_FILE = frozenset({"data", "password"})

_HOST = re.compile(r"[0-9A-Za-z.:-]+")


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("expected an IP address or a host name")
    return text


def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ValueError("expected an address such as https://backup.example.com")
    return text.rstrip("/")


def _named_directory(text: str) -> str:
    name, separator, path = text.partition("=")
    if not (separator and name.strip() and Path(path.strip()).is_absolute()):
        raise ValueError("expected a name and an absolute path, such as Offsite=/mnt/offsite")
    return f"{name.strip()}={path.strip()}"


def _split_at_commas(value: object) -> object:
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _separated(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, AfterValidator(_host)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
NamedDirectory = Annotated[str, AfterValidator(_named_directory)]
NamedDirectories = Annotated[
    tuple[NamedDirectory, ...], NoDecode, BeforeValidator(_split_at_commas)
]
Hosts = Annotated[tuple[Host, ...], NoDecode, BeforeValidator(_separated)]


class Settings(BaseSettings):
    """The settings of a Holdfast process. The description of each is its help everywhere."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    data: Path = Field(Path("var"), description="Directory that holds everything Holdfast keeps.")
    https_host: Host = Field(
        "0.0.0.0",  # noqa: S104 - the API is there for other machines too
        description="Address the HTTPS port listens on; 0.0.0.0 is every IPv4 address.",
    )
    https_port: Port = Field(9398, description="Port of the API over HTTPS; 0 takes a free one.")
    http_host: Host = Field(
        "127.0.0.1",
        description="Address the HTTP port listens on; passwords travel there in the clear.",
    )
    http_port: Port = Field(9399, description="Port of the API over HTTP; 0 takes a free one.")
    server_host: Host = Field(
        "0.0.0.0",  # noqa: S104 - a manager on another machine is what it is for
        description="Address a backup server of its own listens on, for managers.",
    )
    server_port: Port = Field(
        9392, description="Port of a backup server of its own, over HTTPS; 0 takes a free one."
    )
    server_name: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Name of a backup server of its own; without one, the machine's.",
        examples=["Berlin 1"],
    )
    public_url: PublicUrl | None = Field(
        None,
        description="Address at which clients reach Holdfast, when a proxy is in between.",
        examples=["https://backup.example.com"],
    )
    certificate_file: Path | None = Field(
        None,
        description="Certificate chain (PEM) for HTTPS, in place of a self-signed certificate.",
        examples=["/etc/holdfast/chain.pem"],
    )
    key_file: Path | None = Field(
        None,
        description="Private key (PEM, no password) that belongs to the certificate file.",
        examples=["/etc/holdfast/key.pem"],
    )
    allowed_hosts: Hosts = Field(
        (), description="Host names that requests may carry, beyond those of this machine."
    )
    repositories: NamedDirectories = Field(
        (),
        description=(
            "Repositories of the backup server beside the default one, each a name and a"
            " directory: Offsite=/mnt/offsite. One that is left out later stays."
        ),
    )
    ready_file: Path | None = Field(
        None,
        description="File to write (JSON) once Holdfast answers; removed when it stops.",
        examples=["/run/holdfast/ready.json"],
    )
    password: SecretStr | None = Field(
        None, description="Password of the administrator; the first start sets it."
    )
    password_file: Path | None = Field(
        None,
        description="File with the administrator's password; the first start sets it.",
        examples=["/etc/holdfast/password"],
    )
    logon_program: Path | None = Field(
        None,
        description=(
            "Program that checks the accounts without a local password: it gets the name and the"
            " password as two lines on standard input, and ends with 0 if they are right."
        ),
        examples=["/usr/sbin/pwauth"],
    )
    samples: bool = Field(
        True, description="At the very first start, make two sample jobs and run them."
    )
    mount_idle_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(
        10, description="Minutes after which a mounted restore point nobody uses is released."
    )
    concurrent_machines: Annotated[int, Field(ge=1, le=1000)] = Field(
        2, description="How many machines or directories the backup server works on at once."
    )
    concurrent_per_repository: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None,
        description="Of these, how many may be written to one repository; without it, all.",
        examples=[1],
    )
    concurrent_per_host: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None,
        description="Of these, how many may be machines of one host; without it, all.",
        examples=[1],
    )
    verbose: bool = Field(False, description="Log more.")

    @property
    def repository_directories(self) -> dict[str, Path]:
        """The directories of the repositories beside the default one, by name."""
        named = (each.partition("=") for each in self.repositories)
        return {name: Path(path) for name, _, path in named}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first."""
        return (init_settings, env_settings, _DataFile(settings_cls))


class _DataFile(PydanticBaseSettingsSource):
    """The file ``holdfast.toml`` in the data directory, where there is one."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of no field: the file is read as a whole."""
        return (None, field_name, self.field_is_complex(field))

    def __call__(self) -> dict[str, Any]:
        """Return what the file says; raise BadInput when it cannot be read."""
        path = file_of(self.current_state)
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}: expected a readable TOML file: {error}") from None
        for name in sorted(NOT_IN_FILE & values.keys()):
            variable = PREFIX + name.upper()
            raise BadInput(f"{path}: {name}: expected elsewhere, in the variable {variable}")
        return values


def file_of(values: Mapping[str, Any]) -> Path:
    """Given the settings known so far, return the path of the settings file."""
    return Path(values.get("data", Settings.model_fields["data"].default)) / FILE_NAME
