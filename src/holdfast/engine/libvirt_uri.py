"""Which connection URIs are accepted. Pure.

libvirt's remote URIs (https://libvirt.org/uri.html) may carry parameters that run programs on this
machine or on the other (``command``, ``netcat``, ``proxy``). Who may add a host must not thereby be
able to run programs, so only parameters that name files and sockets are let through.
``known_hosts`` is not one of them: libvirt hands it to its built-in SSH transports alone, so with
the program ssh it would be taken and have no effect.
"""

from urllib.parse import parse_qsl, urlencode, urlsplit

from holdfast.engine.errors import EngineError

SCHEMES = ("qemu", "qemu+ssh", "qemu+unix", "qemu+tls")
_PATHS = ("/system", "/session")
_PARAMETERS = frozenset({"socket", "mode", "keyfile", "pkipath", "no_tty"})
# What starts with a dash would be an option of ssh.
_REMOTE = frozenset({"qemu+ssh", "qemu+tls"})
_PORTS = {"qemu+ssh": 22, "qemu+tls": 16514}
_SYSTEM_SOCKET = "/run/libvirt/libvirt-sock"


def checked_uri(uri: str) -> str:
    """Given a connection URI, return it ready for use; raise EngineError when it is not allowed.

    For example ``qemu:///system`` or ``qemu+ssh://backup@host/system``. With ssh, ``no_tty=1`` is
    added: a question for a password would wait for ever on a terminal that is not there.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _port = parts.port
    except ValueError as error:
        raise _refused(uri, f"it is not a URI ({error})") from error
    if parts.scheme not in SCHEMES:
        raise _refused(uri, f"it must begin with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    if parts.path not in _PATHS:
        raise _refused(uri, "its path must be /system or /session")
    if (host is not None) != (parts.scheme in _REMOTE):
        wanted = "must name a host" if host is None else "must not name a host"
        raise _refused(uri, f"with {parts.scheme} it {wanted}")
    if parts.password is not None or parts.fragment:
        raise _refused(uri, "it must hold neither a password nor a fragment")
    if (parts.username or "").startswith("-") or (host or "").startswith("-"):
        raise _refused(uri, "a name in it begins with a dash")
    parameters = parse_qsl(parts.query, keep_blank_values=True)
    for name, _value in parameters:
        if name not in _PARAMETERS:
            allowed = ", ".join(sorted(_PARAMETERS))
            raise _refused(uri, f"the parameter {name} is not among {allowed}")
    if parts.scheme == "qemu+ssh" and "no_tty" not in dict(parameters):
        parameters.append(("no_tty", "1"))
    query = urlencode(parameters, safe="/")
    # Not by urllib, which would leave out the two slashes of an empty host.
    return f"{parts.scheme}://{parts.netloc}{parts.path}{'?' if query else ''}{query}"


def is_local(uri: str) -> bool:
    """Say whether a URI is of a host that is this machine, and sees its files."""
    return urlsplit(uri).scheme not in _REMOTE


def daemon_of(uri: str) -> tuple[str, ...]:
    """Given a checked URI, return what tells its daemon apart, whatever way leads to it.

    Two spellings for one daemon give the same; an address beside a name of one host is not seen.
    """
    parts = urlsplit(uri)
    parameters = dict(parse_qsl(parts.query))
    socket = parameters.get("socket", "").removeprefix("/var")
    if parts.path == "/system" and socket == _SYSTEM_SOCKET:
        socket = ""
    # A session's daemon is its account's; that of the system is one for all.
    account = (parts.username or "") if parts.path == "/session" else ""
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else str(parts.port)
    return (parts.hostname or "", port, parts.path, account, socket)


def _refused(uri: str, reason: str) -> EngineError:
    # Without its password, should somebody have put one in.
    shown = uri if "@" not in uri else f"{uri.partition('://')[0]}://…@{uri.rpartition('@')[2]}"
    return EngineError(f"The connection URI {shown} cannot be used: {reason}.")
