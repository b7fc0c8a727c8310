"""Checking JSON answers against the OpenAPI document."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator


def problems(document: dict[str, Any], described: dict[str, Any], value: Any) -> list[str]:
    """Given the document, a schema in it and a value, return what is wrong with the value."""
    schema = described | {"components": document["components"]}
    found = Draft202012Validator(schema).iter_errors(value)
    return [f"{error.json_path}: {error.message[:300]}" for error in found]


def answer_schema(document: dict[str, Any], path: str, status: int = 200) -> dict[str, Any]:
    """Given a path of the document, return the JSON Schema of the answer to its GET."""
    response = document["paths"][path]["get"]["responses"][str(status)]
    schema: dict[str, Any] = response["content"]["application/json"]["schema"]
    return schema
