"""The reference page: the OpenAPI document as plain HTML, without scripts or anything to load."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from holdfast.schema.roles import Role

_METHODS = ("get", "post", "put", "delete")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --quiet: #777; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
nav ul { columns: 14rem; list-style: none; padding: 0; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; background: var(--soft); }
code { font: 13px/1.5 ui-monospace, monospace; }
td ul { margin: 0; padding-left: 1rem; }
summary { cursor: pointer; margin: .4rem 0; }
.quiet { color: var(--quiet); }
.method { width: 4.5rem; } .address { width: 24%; } .answers { width: 20%; } .roles { width: 13%; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

#: Nothing is loaded and nothing runs; the one style sheet is known by its hash.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


def reference_page(document: dict[str, Any]) -> str:
    """Given an OpenAPI document, return the page."""
    info, areas = document["info"], [tag["name"] for tag in document["tags"]]
    title = escape(info["title"])
    schemas: dict[str, Any] = document["components"]["schemas"]
    contents = [(_anchor(area), area) for area in areas] + [("schemas", "Schemas")]
    listed = "".join(
        f'<li><a href="#{escape(anchor)}">{escape(name)}</a></li>' for anchor, name in contents
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{escape(info['description'])}</p>"
        f"<p>Version {escape(info['version'])}, at"
        f" <code>{escape(document['servers'][0]['url'])}</code>.</p>"
        f"<nav><ul>{listed}</ul></nav><main>{''.join(_area(document, area) for area in areas)}"
        f'<h2 id="schemas">Schemas</h2>{"".join(_schema(n, s) for n, s in schemas.items())}'
        "</main></body></html>"
    )


def _anchor(area: str) -> str:
    return "area-" + "-".join(area.lower().split())


def _area(document: dict[str, Any], area: str) -> str:
    rows = "".join(
        _operation(method, path, operation)
        for path, method, operation in _operations(document)
        if area in operation["tags"]
    )
    return (
        f'<h2 id="{escape(_anchor(area))}">{escape(area)}</h2><table><thead><tr>'
        '<th class="method">Method</th><th class="address">Address</th><th>What it does</th>'
        '<th class="answers">Answers</th><th class="roles">Roles</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = [
        f"{escape(status)}{_shown(response)}"
        for status, response in operation["responses"].items()
        if status.startswith("2")
    ]
    return (
        f"<tr><td><code>{escape(method.upper())}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}{_deprecation(operation)}{_parameters(operation)}{_request(operation)}</td>"
        f"<td>{'<br>'.join(answers)}</td><td>{_roles(operation)}</td></tr>"
    )


def _deprecation(operation: dict[str, Any]) -> str:
    return ' <span class="quiet">(deprecated)</span>' if operation.get("deprecated") else ""


def _shown(response: dict[str, Any]) -> str:
    """What a response holds: links to its schemas, or its content type."""
    content: dict[str, Any] = response.get("content", {})
    described = content.get("application/json", {}).get("schema")
    if described is not None:
        return " " + _value(described)
    return "".join(f" <code>{escape(media)}</code>" for media in content)


def _parameters(operation: dict[str, Any]) -> str:
    items = [
        f"<li><code>{escape(parameter['name'])}</code>{' (required)' * parameter['required']}:"
        f" {escape(parameter['description'])} {_choices(parameter['schema'])}</li>"
        for parameter in operation["parameters"]
    ]
    if not items:
        return ""
    names = ", ".join(escape(parameter["name"]) for parameter in operation["parameters"])
    return f'<details><summary class="quiet">{names}</summary><ul>{"".join(items)}</ul></details>'


def _choices(described: dict[str, Any]) -> str:
    values = described.get("enum", ())
    return f'<span class="quiet">{escape(", ".join(map(str, values)))}</span>' if values else ""


def _request(operation: dict[str, Any]) -> str:
    body = operation.get("requestBody")
    if body is None:
        return ""
    described = body["content"]["application/json"]["schema"]
    return f"<p>Body: {_value(described)}</p>"


def _roles(operation: dict[str, Any]) -> str:
    actions = operation.get("x-actions", ())
    by_action = {choice["action"]: _named_roles(choice["x-roles"]) for choice in actions}
    if len(set(by_action.values())) > 1:
        return "<br>".join(f"{escape(name)}: {roles}" for name, roles in by_action.items())
    roles = operation.get("x-roles")
    return "anybody" if roles is None else _named_roles(roles)


def _named_roles(roles: list[str]) -> str:
    return "any role" if len(roles) == len(Role) else escape(", ".join(roles))


def _schema(name: str, described: dict[str, Any]) -> str:
    needed = described.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(member)}</code></td><td>{_value(value)}</td>"
        f"<td>{'' if member in needed else 'may be left out'}</td></tr>"
        for member, value in described.get("properties", {}).items()
    )
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        "<table><thead><tr><th>Member</th><th>Value</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _value(described: dict[str, Any]) -> str:
    """Given a JSON Schema, return it in a few words, as HTML."""
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "anyOf" in described:
        return _joined(_value(choice) for choice in described["anyOf"])
    kind = described.get("type")
    if kind == "array":
        return f"list of {_value(described['items'])}"
    if kind == "object":
        members = ", ".join(
            f"<code>{escape(member)}</code> {_value(value)}"
            for member, value in described.get("properties", {}).items()
        )
        return f"object ({members})"
    return f"{escape(str(kind))} {_choices(described)}".strip()


def _joined(choices: Iterable[str]) -> str:
    return " or ".join(choices)
