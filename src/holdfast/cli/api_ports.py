"""The API on its ports: bound first, with a certificate, then served."""

from __future__ import annotations

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from holdfast.api.app import create_app
from holdfast.api.call import ApiSettings
from holdfast.cli import certificate
from holdfast.cli.certificate import Certificate
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.listeners import Frontend, Listener, bind
from holdfast.cli.settings import Settings
from holdfast.manager.enterprise_manager import EnterpriseManager


def bound(settings: Settings, stack: AsyncExitStack) -> list[Listener]:
    """Bind the ports, HTTPS first: one that is taken is told before anything is changed."""
    wanted = (
        ("https", settings.https_host, settings.https_port),
        ("http", settings.http_host, settings.http_port),
    )
    listeners = []
    for address in wanted:
        listeners.append(bind(*address))
        stack.callback(listeners[-1].socket.close)
    return listeners


def certificate_of(settings: Settings, directory: DataDirectory) -> Certificate:
    """Return the certificate that the settings bring, or the directory's own."""
    own = certificate.brought(settings.certificate_file, settings.key_file)
    return own or certificate.ensure(directory.tls, _certified_names(settings))


async def frontend(
    manager: EnterpriseManager,
    settings: Settings,
    listeners: list[Listener],
    tls: Certificate,
    stack: AsyncExitStack,
) -> Frontend:
    """Serve a manager's API on bound ports until the stack is closed."""
    api = ApiSettings(settings.public_url, frozenset(settings.allowed_hosts))
    served = Frontend(create_app(manager, api), listeners, tls)
    stack.push_async_callback(served.stop)
    await served.start()
    return served


def _certified_names(settings: Settings) -> list[str]:
    """Return the names beyond this machine's own that clients may reach it by."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    return [settings.https_host, *settings.allowed_hosts, *([public] if public else [])]
