"""The text in which LVM2 keeps its metadata: ``name { key = value … }``, sections in sections.

The grammar is that of LVM2's lib/config (lvm.conf and metadata alike): strings in double quotes,
numbers, lists in brackets, comments from ``#`` to the end of the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Union

from holdfast.engine.disk import DamagedError

Value = Union[int, str, list["int | str"], "Section"]
Section = dict[str, Value]

_DEEPEST = 8
_TOKEN = re.compile(
    r'\s+|\#[^\n]*|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z0-9_.+-]+)|(?P<sign>[{}=\[\],])',
    re.DOTALL,
)
_NUMBER = re.compile(r"-?[0-9]{1,19}")

_Token = tuple[str, str]  # its kind, and what is written


def parse(text: str) -> Section:
    """Given metadata, return its sections as dictionaries. Raise DamagedError."""
    root: Section = {}
    open_sections = [root]
    tokens = _tokens(text)
    for kind, name in tokens:
        if (kind, name) == ("sign", "}") and len(open_sections) > 1:
            open_sections.pop()
            continue
        follows = next(tokens, ("", ""))
        if kind != "word" or follows not in (("sign", "{"), ("sign", "=")):
            raise DamagedError("The metadata of LVM are not in their grammar.")
        if follows[1] == "=":
            open_sections[-1][name] = _value(tokens)
            continue
        if len(open_sections) > _DEEPEST:
            raise DamagedError("The sections of the metadata of LVM are too deep.")
        inner: Section = {}
        open_sections[-1][name] = inner
        open_sections.append(inner)
    if len(open_sections) > 1:
        raise DamagedError("The metadata of LVM end too early.")
    return root


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise DamagedError("The metadata of LVM have a sign that does not belong there.")
        at = found.end()
        if found.lastgroup:
            yield found.lastgroup, found.group()


def _value(tokens: Iterator[_Token]) -> Value:
    first = next(tokens, ("", ""))
    if first != ("sign", "["):
        return _scalar(first)
    items: list[int | str] = []
    for token in tokens:
        if token == ("sign", "]"):
            return items
        if token != ("sign", ","):
            items.append(_scalar(token))
    raise DamagedError("A list in the metadata of LVM has no end.")


def _scalar(token: _Token) -> int | str:
    kind, written = token
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", written[1:-1], flags=re.DOTALL)
    if kind != "word":
        raise DamagedError("A value is missing in the metadata of LVM.")
    return int(written) if _NUMBER.fullmatch(written) else written
