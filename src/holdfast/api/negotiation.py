"""Which format a client wants and which it sends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from starlette.requests import Request


class Format(Enum):
    """The two formats, by the Content-Type of an answer."""

    XML = "application/xml; charset=utf-8"
    JSON = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Wanted:
    """The format of an answer; `camel` for members in camelCase."""

    format: Format
    camel: bool = False


_XML = Wanted(Format.XML)
_KNOWN = {
    "application/json": Format.JSON,
    "application/xml": Format.XML,
    "text/xml": Format.XML,
    "*/*": Format.XML,
    "application/*": Format.XML,
}


def wanted(request: Request) -> Wanted:
    """Given a request, return the format to answer in: XML unless JSON is preferred."""
    best, best_quality = _XML, 0.0
    for entry in ",".join(request.headers.getlist("accept")).split(","):
        media, *parameters = (part.strip().lower() for part in entry.split(";"))
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        quality = _quality(options.get("q", "1"))
        found = _KNOWN.get(media)
        if found is not None and quality > best_quality:
            camel = found is Format.JSON and options.get("case") == "camel"
            best, best_quality = Wanted(found, camel), quality
    return best


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def sends_json(request: Request) -> bool:
    """Given a request, say whether its body is JSON; anything else is read as XML."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return media == "application/json"
