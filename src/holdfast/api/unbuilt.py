"""Calls that the API has and Holdfast does not carry out yet.

Their addresses are known. Whoever makes such a call is told so, after everything else about the
request was found to be right: that they may, and that the item is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from holdfast.api.call import Call
from holdfast.api.description import area_of
from holdfast.api.errors import BadRequest, NotBuilt, NotFound
from holdfast.api.resources import Place
from holdfast.api.routing import Handler, Router
from holdfast.api.unbuilt_descriptions import describe_unbuilt, with_unbuilt
from holdfast.schema.calls import ApiCall, all_calls
from holdfast.schema.file_system import MOUNTS
from holdfast.schema.resource import ResourceType, Schema


class WrongCalls(RuntimeError):
    """The table of calls and the routes do not agree; the message has a line for each fault."""


def add_routes(router: Router, schema: Schema) -> None:
    """Given a router with all other routes, add what the table has beyond them.

    Raises WrongCalls when the table calls something built that is not, or the reverse.
    """
    faults = [*_faults(router), *_served_actions(schema)]
    if faults:
        raise WrongCalls("\n".join(faults))
    for call in all_calls():
        if not router.serves(call.method, call.path):
            described = {call.method: describe_unbuilt(call, _area(schema, call))}
            path = call.path.replace("{path}", "{path:path}")
            router.add(path, {call.method: _refusing(call)}, describe=described)
        elif not call.built and (known := router.described(call.path, call.method)) is not None:
            router.describe(call.path, call.method, with_unbuilt(known, call))
    router.when_unbuilt(refuse)


def _area(schema: Schema, call: ApiCall) -> str:
    """The area of the resource that the call's address begins with, else the table's own."""
    above = _top(schema, call.path.partition("/{id}")[0])
    return area_of(above) if above is not None else call.area.replace("-", " ").capitalize()


def _faults(router: Router) -> Iterator[str]:
    for call in all_calls():
        served = router.serves(call.method, call.path)
        if call.built and not served:
            yield f"{call.name}: built by the table, but nothing serves it"
        at_place = all_calls().at(call.method, call.path)
        if served and not any(other.built for other in at_place):
            yield f"{call.name}: unbuilt by the table, but there is a route"


def _served_actions(schema: Schema) -> Iterator[str]:
    """Declared actions that the table takes for unbuilt."""
    for resource in schema:
        for action in resource.actions:
            path = f"{resource.collection}/{{id}}"
            call = all_calls().find(action.method, path, {"action": action.name})
            if resource.parent is None and call is not None and not call.built:
                yield f"{call.name}: unbuilt by the table, but {resource.name} declares it"


def _top(schema: Schema, collection: str) -> ResourceType | None:
    """Given the address of a collection, return the type of what it holds, if it is declared."""
    tops = (resource for resource in schema if resource.parent is None)
    return next((r for r in tops if r.collection.casefold() == collection.casefold()), None)


async def refuse(call: Call, asked: ApiCall) -> Response:
    """Given a call that is not built, raise NotFound if its item is not there, else NotBuilt."""
    await _expect_items(call, asked.path)
    raise NotBuilt(f"Holdfast does not carry out {asked.name} yet.")


def _refusing(asked: ApiCall) -> Handler:
    """Given a call that nothing serves, return what answers where its parameter means no call."""

    async def refuse_parameter(call: Call) -> Response:
        await _expect_items(call, asked.path)
        known = all_calls().at(asked.method, asked.path)
        values = ", ".join(value for each in known for value in each.values)
        raise BadRequest(f"Parameter {asked.parameter}: expected one of {values}.")

    return refuse_parameter


async def _expect_items(call: Call, path: str) -> None:
    """Raise NotFound unless each item that the address names is there."""
    collection, named, rest = path.partition("/{id}")
    if not named:
        return
    parameters = call.request.path_params
    schema = call.manager.schema
    above = _top(schema, collection)
    if above is None:
        raise NotFound(f"Cannot find [{parameters['id']}] in {collection}.")
    await Place(above).expect(call)
    below, named, _ = rest.strip("/").partition("/{item}")
    if not named or (below == "mounts" and above.name in MOUNTS):
        # What is mounted is known to the backup server alone.
        return
    child = next((c for c in above.children if c.path.casefold() == below.casefold()), None)
    if child is None:
        raise NotFound(f"Cannot find [{parameters['item']}] in {collection}/{{id}}/{below}.")
    await Place(schema[child.target], above, child).expect(call)
