"""How clients log on and prove who they are from then on."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

from clients.conftest import Site

NAMESPACE = "{http://www.veeam.com/ent/v1.0}"


def test_client_that_keeps_cookies_and_nothing_else(site: Site) -> None:
    jar = CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=site.trust),
        urllib.request.HTTPCookieProcessor(jar),
    )
    logon = urllib.request.Request(
        f"{site.https}/sessionMngr/?v=latest",
        method="POST",
        data=b"",
        headers={"Authorization": site.basic},
    )
    with opener.open(logon) as answer:
        assert answer.status == 201
    [cookie] = jar
    assert (cookie.name, cookie.path, cookie.secure) == ("X-RestSvcSessionId", "/api", True)
    with opener.open(f"{site.https}/jobs") as answer:
        root = ElementTree.fromstring(answer.read())
    assert len(root) == 2
    with opener.open(f"{site.https}/logonSessions") as answer:
        session = ElementTree.fromstring(answer.read())[0]
    leave = urllib.request.Request(session.attrib["Href"], method="DELETE")
    with opener.open(leave) as answer:
        assert answer.status == 204
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(f"{site.https}/jobs")
    assert refused.value.code == 401
    assert refused.value.headers["WWW-Authenticate"] == 'Basic realm="RestSvc"'
    refused.value.close()


def exchange(site: Site, method: str, path: str, *headers: str) -> tuple[bytes, bytes]:
    """Given a request's parts, send its bytes over TLS; return head and body of the answer."""
    address = urlsplit(site.https)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address.netloc}", *headers]
    request = "\r\n".join([*lines, "Content-Length: 0", "Connection: close", "", ""])
    with (
        socket.create_connection((address.hostname, address.port), timeout=30) as line,
        site.trust.wrap_socket(line, server_hostname=address.hostname) as secured,
    ):
        secured.sendall(request.encode())
        answer = b"".join(iter(lambda: secured.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def test_client_that_compares_header_names_by_their_letters(site: Site) -> None:
    head, _ = exchange(site, "POST", "/api/sessionMngr/?v=latest", f"Authorization: {site.basic}")
    assert head.startswith(b"HTTP/1.1 201 ")
    # As a program does that splits lines and looks for exactly this.
    found = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    token = found[b"X-RestSvcSessionId"].decode()
    assert b"X-RestSvcSessionId=" + token.encode() in found[b"Set-Cookie"]

    head, body = exchange(site, "GET", "/api/repositories", f"X-RestSvcSessionId: {token}")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"EntityReferences" in body
    assert b"Content-Type: application/xml" in head
    for name in ("x-restsvcsessionid", "X-RESTSVCSESSIONID"):
        head, _ = exchange(site, "GET", "/api/repositories", f"{name}: {token}")
        assert head.startswith(b"HTTP/1.1 200 ")
    head, _ = exchange(site, "GET", "/api/repositories")
    assert head.startswith(b"HTTP/1.1 401 ")


def test_cookie_counts_when_header_says_otherwise(site: Site) -> None:
    head, _ = exchange(site, "POST", "/api/sessionMngr/?v=v1_7", f"Authorization: {site.basic}")
    token = head.partition(b"X-RestSvcSessionId: ")[2].partition(b"\r\n")[0].decode()
    dead = base64.b64encode(b"00000000-0000-4000-8000-000000000000").decode()
    head, _ = exchange(
        site,
        "GET",
        "/api/jobs",
        f"Cookie: X-RestSvcSessionId={token}",
        f"X-RestSvcSessionId: {dead}",
    )
    assert head.startswith(b"HTTP/1.1 200 ")
    head, _ = exchange(
        site,
        "GET",
        "/api/jobs",
        f"Cookie: X-RestSvcSessionId={dead}",
        f"X-RestSvcSessionId: {token}",
    )
    assert head.startswith(b"HTTP/1.1 401 ")


def test_client_that_makes_its_token_of_the_session_id(site: Site) -> None:
    address = urlsplit(site.http)
    line = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    line.request(
        "POST",
        "/api/sessionMngr/?v=latest",
        headers={"Authorization": site.basic, "Accept": "application/json"},
    )
    answer = line.getresponse()
    session = json.loads(answer.read())
    assert answer.status == 201
    token = base64.b64encode(session["SessionId"].encode()).decode()
    # The same line is used on: nothing of the first answer may be left in it.
    line.request("GET", "/api/backups", headers={"X-RestSvcSessionId": token})
    answer = line.getresponse()
    assert answer.status == 200
    answer.read()
    line.request("DELETE", urlsplit(session["Href"]).path, headers={"X-RestSvcSessionId": token})
    answer = line.getresponse()
    assert (answer.status, answer.read()) == (204, b"")
    line.request("GET", "/api/backups", headers={"X-RestSvcSessionId": token})
    answer = line.getresponse()
    assert answer.status == 401
    answer.read()
    line.close()


@pytest.mark.parametrize(
    "address",
    [
        "/api/sessionMngr/?v=latest",
        "/api/sessionMngr?v=latest",
        "/api/sessionMngr/",
        "/api/sessionMngr",
        "/api/sessionMngr/?v=v1_2",
        "/api/sessionMngr/?v=v1_4",
        "/api/sessionMngr/?v=v1_7",
        "/api/sessionMngr/?v=v9_9",
        "/api/sessionMngr/?v=latest&v=v1_5",
        "/api//sessionMngr/?v=latest",
        "/API/SESSIONMNGR/?V=LATEST",
        "/api/sessionMngr/%3Fv=latest",
    ],
)
def test_every_way_to_log_on_is_a_way(site: Site, address: str) -> None:
    at = urlsplit(site.http)
    for kind, body in (
        (None, None),
        ("application/x-www-form-urlencoded", b""),
        ("application/json", b"{}"),
        ("application/xml", b"<LogonSpec/>"),
        ("text/xml; charset=utf-8", b"ignored"),
    ):
        line = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
        headers = {"Authorization": site.basic} | ({"Content-Type": kind} if kind else {})
        line.request("POST", address, body=body, headers=headers)
        answer = line.getresponse()
        root = ElementTree.fromstring(answer.read())
        assert (answer.status, root.tag) == (201, f"{NAMESPACE}LogonSession"), kind
        headers = {"X-RestSvcSessionId": answer.headers["X-RestSvcSessionId"]}
        line.request("DELETE", urlsplit(root.attrib["Href"]).path, headers=headers)
        assert line.getresponse().status == 204
        line.close()
