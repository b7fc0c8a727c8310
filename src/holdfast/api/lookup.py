"""The lookup service: from a name to a hierarchy reference and back, from the catalog alone."""

from __future__ import annotations

from starlette.responses import Response

from holdfast.api import backup_server_descriptions as descriptions
from holdfast.api.answers import answer
from holdfast.api.call import Call
from holdfast.api.entry import session_address
from holdfast.api.errors import BadRequest
from holdfast.api.routing import Router
from holdfast.catalog.select import Restriction
from holdfast.catalog.tables import key_column
from holdfast.query.expression import Operator
from holdfast.query.literals import fold
from holdfast.query.request import Query, default_order
from holdfast.representation.documents import Collection, Service
from holdfast.representation.links import LinkValue
from holdfast.representation.resources import writer_for
from holdfast.schema.naming import guid_of, urn_prefix

_ANY = "*"
#: Higher than every character a name can go on with.
_HIGHEST = "\U0010ffff"


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    router.add("/lookupSvc", {"GET": lookup_service}, describe={"GET": descriptions.LOOKUP_SERVICE})
    router.add("/lookup", {"GET": lookup}, describe={"GET": descriptions.LOOKUP})


async def lookup_service(call: Call) -> Response:
    """Answer with where the machines of each hierarchy root are looked up."""
    schema = call.manager.schema
    resource = schema["HierarchyRoot"]
    every = Query(resource, None, default_order(schema, resource), None, False)
    roots = await call.manager.reader.rows(every)
    links = [LinkValue("Up", session_address(call, call.session), type="LogonSession")]
    for root in roots.rows:
        host = urn_prefix(resource.document_type) + root["UID"]
        href = call.address(f"/lookup?host={host}&name={_ANY}&type=Vm")
        links.append(LinkValue("Down", href, type="HierarchyItemList"))
    href = call.address("/lookupSvc")
    return answer(call.request, Service("LookupSvc", links, type="LookupService", href=href))


async def lookup(call: Call) -> Response:
    """Answer with the objects of a reference, or of a host, a name and a type.

    A name is ``*`` for any, or ends in ``*`` for all that begin so. Nothing found is an empty list.
    """
    schema = call.manager.schema
    resource = schema["HierarchyItem"]
    query = Query(resource, None, default_order(schema, resource), None, True)
    found = await call.manager.reader.rows(query, tuple(_restrictions(call)))
    writer = writer_for(schema, resource, True, call.rights)
    return answer(call.request, Collection(writer, found.rows, call.base))


def _restrictions(call: Call) -> list[Restriction]:
    if reference := call.parameter("hierarchyRef"):
        return [_equal("object_ref", reference)]
    host = call.parameter("host")
    if not host:
        raise BadRequest(
            "Expected the parameter hierarchyRef, or the parameters host, name and type."
        )
    try:
        root = guid_of(host)
    except ValueError as error:
        raise BadRequest(f"Parameter host: {error}.") from None
    found = [Restriction("hierarchy_root_uid", Operator.EQUAL, root.bytes)]
    if (wanted := call.parameter("type")) and wanted != _ANY:
        found.append(_equal("object_type", wanted))
    return found + _named(call.parameter("name") or _ANY)


def _named(name: str) -> list[Restriction]:
    column = key_column("object_name")
    if not name.endswith(_ANY):
        return [_equal("object_name", name)]
    start = fold(name.removesuffix(_ANY))
    if not start:
        return []
    return [
        Restriction(column, Operator.GREATER_OR_EQUAL, start),
        Restriction(column, Operator.LESS, start + _HIGHEST),
    ]


def _equal(column: str, value: str) -> Restriction:
    return Restriction(key_column(column), Operator.EQUAL, fold(value))
