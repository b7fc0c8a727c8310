"""The few lines that scripts against this API share: log on, get, post."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

from clients.conftest import Site

NAMESPACE = "{http://www.veeam.com/ent/v1.0}"


class Script:
    """Asks with its token as a header. Whatever is not a success is an error, as with urllib."""

    def __init__(self, site: Site, base: str) -> None:
        self.base = base
        self._site = site
        logon = urllib.request.Request(
            f"{base}/sessionMngr/?v=latest",
            method="POST",
            headers={"Authorization": site.basic},
        )
        with self._open(logon) as answer:
            self._token = answer.headers["X-RestSvcSessionId"]
            self.logon = ElementTree.fromstring(answer.read())

    def send(
        self,
        method: str,
        address: str,
        accept: str | None = None,
        body: bytes | None = None,
        kind: str = "application/json",
    ) -> Any:
        """Given a request, return the answer: status, headers, read."""
        headers = {"X-RestSvcSessionId": self._token}
        if accept is not None:
            headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = kind
        url = address if address.startswith("http") else self.base + address
        return self._open(urllib.request.Request(url, body, headers, method=method))

    def xml(self, address: str, method: str = "GET") -> ElementTree.Element:
        """Given an address, return the root of the XML that is there."""
        with self.send(method, address) as answer:
            return ElementTree.fromstring(answer.read())

    def json(self, address: str, method: str = "GET", body: Any = None) -> Any:
        """Given an address, return the JSON that is there."""
        sent = json.dumps(body).encode() if body is not None else None
        with self.send(method, address, "application/json", sent) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def _open(self, request: urllib.request.Request) -> Any:
        return urllib.request.urlopen(request, timeout=60, context=self._site.trust)


@contextmanager
def logged_on(site: Site, base: str | None = None) -> Iterator[Script]:
    """Given where a Holdfast is, give a script that is logged on, over HTTPS unless told."""
    script = Script(site, base or site.https)
    try:
        yield script
    finally:
        script.send("DELETE", script.logon.attrib["Href"]).close()


def links(element: ElementTree.Element) -> list[ElementTree.Element]:
    """Given an element, return its links, in order."""
    return element.findall(f"{NAMESPACE}Links/{NAMESPACE}Link")
