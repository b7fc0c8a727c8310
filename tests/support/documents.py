"""Reading the API's documents in tests: generic, without the product's own code."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import httpx

NAMESPACE = "http://www.veeam.com/ent/v1.0"


def parsed(answer: httpx.Response) -> ElementTree.Element:
    """Given an XML answer, return its root; fails if it is not well-formed UTF-8 XML."""
    assert answer.headers["Content-Type"].split(";")[0] == "application/xml"
    assert answer.content.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    return ElementTree.fromstring(answer.content)  # noqa: S314 - our own answer


def local(element: ElementTree.Element) -> str:
    """Given an element, return its name; fails if it is not of the API's namespace."""
    namespace, _, name = element.tag[1:].partition("}")
    assert namespace == NAMESPACE, element.tag
    return name


def part(element: ElementTree.Element, path: str) -> ElementTree.Element | None:
    """Given names joined by slashes, return the element there, or None."""
    return element.find("/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/")))


def links_of(element: ElementTree.Element) -> list[dict[str, str]]:
    """Given an element, return the attributes of its own links, in order."""
    return [dict(link.attrib) for link in element.findall(f"{{{NAMESPACE}}}Links/*")]


def json_of(answer: httpx.Response) -> Any:
    """Given a JSON answer, return its value."""
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    assert not answer.content.startswith(b"\xef\xbb\xbf")
    return answer.json()


def error_message(answer: httpx.Response, status: int) -> str:
    """Given an answer that must be an error, check the whole of its shape; return its message."""
    assert answer.status_code == status, f"{answer.request.url}: {answer.text[:500]}"
    if answer.headers["Content-Type"].startswith("application/json"):
        document = json_of(answer)
        assert list(document) == [
            "FirstChanceExceptionMessage",
            "Message",
            "StackTrace",
            "Status",
            "StatusCode",
        ]
        assert document["StatusCode"] == status
        assert document["StackTrace"] is document["FirstChanceExceptionMessage"] is None
        message = document["Message"]
    else:
        root = parsed(answer)
        assert local(root) == "Error"
        assert list(root) == []
        assert set(root.attrib) == {"Message", "StatusCode", "Status"}
        assert root.attrib["StatusCode"] == str(status)
        message = root.attrib["Message"]
    assert isinstance(message, str)
    assert message
    assert "Traceback" not in answer.text
    return message
