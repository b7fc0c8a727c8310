"""The OpenAPI document, made from the routes' descriptions and the resource types.

Nothing here lists paths: what the router serves is what is described.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import holdfast
from holdfast.api.access import TOKEN_NAME
from holdfast.api.description import Answer, Body, Logon, Operation, Parameter, document
from holdfast.api.routing import ServedPath
from holdfast.representation.json_schema import components, named, request_schema
from holdfast.schema.resource import Schema
from holdfast.schema.roles import Role
from holdfast.schema.services import ERROR
from holdfast.schema.types import Element

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
    served: Iterable[ServedPath], schema: Schema, base: str, bodies: dict[str, Element]
) -> Object:
    """Given what is served, the resource types and the API's address, return the document.

    `bodies` are the declarations of request bodies by the names of their roots.
    """
    paths = {_template(place.path): _path_item(place) for place in served if place.operations}
    schemas = components(schema)
    schemas |= {name: request_schema(root) for name, root in bodies.items()}
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
    content: Object = {}
    if body.root is not None:
        content[_XML] = {"schema": _xml(f"The element {body.root.name}.")}
        content[_JSON] = {"schema": named(body.root.name)}
    elif body.json is not None:
        content[_JSON] = {"schema": dict(body.json)}
    return {"required": body.required, "content": content}


def _responses(operation: Operation) -> Iterator[tuple[str, Object]]:
    for status, answer in operation.answers.items():
        yield str(status), _response(answer)
    if operation.logon is not Logon.NOTHING:
        yield "401", _ERROR_RESPONSE
    yield "default", _ERROR_RESPONSE


def _response(answer: Answer) -> Object:
    response: Object = {"description": answer.text}
    if answer.media is not None:
        response["content"] = {answer.media: {}}
    elif answer.json is not None:
        response["content"] = {
            _XML: {"schema": _xml(f"The element {answer.root}.")},
            _JSON: {"schema": dict(answer.json)},
        }
    return response


def _xml(text: str) -> Object:
    """XML is declared in the XML schema; here it is told which element it is."""
    return {"type": "string", "description": text}
