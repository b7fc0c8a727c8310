"""The OpenAPI document, made from the routes' descriptions and the resource types.

Nothing here lists paths: what the router serves is what is described.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import holdfast
from holdfast.api.access import TOKEN_NAME
from holdfast.api.description import Answer, Body, Logon, Operation, Parameter, document
from holdfast.api.routing import ServedPath
from holdfast.representation.json_schema import components
from holdfast.schema.resource import Schema
from holdfast.schema.roles import Role
from holdfast.schema.services import ERROR

_JSON = "application/json"
_XML = "application/xml"
_PATH_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_WORD = re.compile(r"[A-Za-z0-9]+")

_PASSWORD_SCHEME = "password"  # noqa: S105 - the name of a security scheme
_TOKEN_SCHEME = "token"  # noqa: S105 - the name of a security scheme

Object = dict[str, Any]

# Every error has one shape, whatever its status.
_ERROR_RESPONSE: Object = {"$ref": f"#/components/responses/{ERROR.name}"}


def openapi_document(
    served: Iterable[ServedPath], schema: Schema, base: str, bodies: Mapping[str, Object]
) -> Object:
    """Given what is served, the resource types and the API's address, return the document.

    `bodies` are the schemas that the descriptions name beside those of the answers.
    """
    paths = {_template(place.path): _path_item(place) for place in served if place.operations}
    schemas = components(schema)
    schemas |= bodies
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast REST API",
            "version": holdfast.__version__,
            "description": (
                "Answers are XML, or JSON where the request's Accept asks for it; the elements of"
                f" the XML are declared in {base}/schema.xsd."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base}],
        "tags": [{"name": area} for area in _areas(served)],
        "security": [{_TOKEN_SCHEME: []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {ERROR.name: _response(document(ERROR.name, "What is wrong."))},
            "securitySchemes": _security_schemes(),
        },
    }


def _areas(served: Iterable[ServedPath]) -> list[str]:
    """The areas in the order in which they first come."""
    operations = (operation for place in served for operation in place.operations.values())
    return list(dict.fromkeys(operation.area for operation in operations))


def _template(path: str) -> str:
    return _PATH_PARAMETER.sub(r"{\1}", path)


def _security_schemes() -> Object:
    return {
        _TOKEN_SCHEME: {
            "type": "apiKey",
            "in": "header",
            "name": TOKEN_NAME,
            "description": "The token that logging on gives; a cookie of the same name will do.",
        },
        _PASSWORD_SCHEME: {"type": "http", "scheme": "basic"},
    }


def _path_item(place: ServedPath) -> Object:
    item: Object = {
        method.lower(): _operation(place.path, method, operation)
        for method, operation in place.operations.items()
    }
    if names := _PATH_PARAMETER.findall(place.path):
        item["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": "The GUID or UID, or what else the resource is known by.",
                "schema": {"type": "string"},
            }
            for name in names
        ]
    return item


def _operation(path: str, method: str, operation: Operation) -> Object:
    words = _WORD.findall(path) or ["root"]
    described: Object = {
        "operationId": "_".join((method.lower(), *words)),
        "summary": operation.summary,
        "tags": [operation.area],
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": dict(_responses(operation)),
        "x-roles": [role.value for role in Role if role in operation.roles],
    }
    if operation.deprecated:
        described["deprecated"] = True
    if not operation.built:
        described["x-unbuilt"] = True
    if operation.unbuilt_values:
        described["x-unbuilt-values"] = list(operation.unbuilt_values)
    if operation.actions:
        described["x-actions"] = [
            {
                "action": choice.name,
                "operation": choice.operation,
                "body": choice.body,
                "x-roles": [role.value for role in Role if role in choice.roles],
            }
            for choice in operation.actions
        ]
    if operation.body is not None:
        described["requestBody"] = _body(operation.body)
    if operation.logon is Logon.NOTHING:
        described["security"] = []
        del described["x-roles"]
    elif operation.logon is Logon.PASSWORD:
        described["security"] = [{_PASSWORD_SCHEME: []}]
    return described


def _parameter(parameter: Parameter) -> Object:
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }


def _body(body: Body) -> Object:
    return {"required": body.required, "content": _content(body.root, body.json)}


def _responses(operation: Operation) -> Iterator[tuple[str, Object]]:
    for status, answer in operation.answers.items():
        yield str(status), _response(answer)
    if operation.logon is not Logon.NOTHING:
        yield "401", _ERROR_RESPONSE
    if not operation.built or operation.unbuilt_values:
        yield "501", _ERROR_RESPONSE
    if operation.asks_server:
        yield "503", _ERROR_RESPONSE
    yield "default", _ERROR_RESPONSE


def _response(answer: Answer) -> Object:
    response: Object = {"description": answer.text}
    content = _content(answer.root, answer.json) if answer.json is not None else {}
    if answer.media is not None:
        content[answer.media] = {}
    if content:
        response["content"] = content
    return response


def _content(root: str | None, described: Mapping[str, Any]) -> Object:
    content: Object = {_JSON: {"schema": dict(described)}}
    if root is None:
        return content
    # XML is declared in the XML schema; here it is told which element it is.
    return {_XML: {"schema": {"type": "string", "description": f"The element {root}."}}} | content
