"""Items and collections of every declared resource type, and what can be done to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote
from uuid import UUID

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.answers import answer
from holdfast.api.bodies import body_of
from holdfast.api.call import BASE_PATH, Call, not_found
from holdfast.api.errors import BadRequest
from holdfast.api.resource_descriptions import (
    describe_actions,
    describe_collection,
    describe_creation,
    describe_item,
    describe_query,
)
from holdfast.api.routing import Methods, Router
from holdfast.catalog.reader import Row
from holdfast.catalog.scope import Within
from holdfast.catalog.select import Condition, Restriction
from holdfast.catalog.tables import key_column
from holdfast.query.expression import Expression, Operator
from holdfast.query.filter import parse_filter
from holdfast.query.literals import fold
from holdfast.query.request import (
    Query,
    parse_order,
    parse_page,
    parse_query,
    wants_entities,
)
from holdfast.representation.documents import Collection, Item, QueryAnswer
from holdfast.representation.paging import Paging
from holdfast.representation.resources import writer_for
from holdfast.schema.naming import guid_of
from holdfast.schema.resource import (
    NAME,
    Action,
    ResourceType,
    Schema,
    SubCollection,
    View,
    creation_element,
)
from holdfast.schema.scopes import TIES
from holdfast.schema.types import String

_DAY = 24 * 60 * 60 * 1000

#: Signs that stand in a path as they are, beside letters and digits.
_SAFE_IN_PATHS = "/:@!$&'()*+,;=-._~"

#: More rows than these would hold up other requests while they are written.
ROWS_WRITTEN_AT_ONCE = 200


def add_routes(router: Router, schema: Schema) -> None:
    """Given a router and a schema, add the routes of every type, and the query's."""
    router.add("/query", {"GET": query}, describe=describe_query(schema))
    for resource in schema:
        for view in resource.views:
            viewed: Methods = {"GET": Place(resource, view=view).collection}
            router.add(view.path, viewed, describe=describe_collection(resource, view=view))
        if resource.parent is not None or not resource.addressed:
            continue
        place = Place(resource)
        described = describe_collection(resource)
        router.add(resource.collection, {"GET": place.collection}, describe=described)
        router.add(
            f"{resource.collection}/{{id}}",
            _item_methods(place),
            describe={**describe_item(resource), **describe_actions(resource)},
        )
        for child in resource.children:
            if child.target in schema:
                _add_child(router, schema, resource, child)


def _add_child(
    router: Router, schema: Schema, resource: ResourceType, child: SubCollection
) -> None:
    target = schema[child.target]
    place = Place(target, resource, child)
    for path in (child.path, *child.spellings):
        below = f"{resource.collection}/{{id}}/{path}"
        misspelt = path != child.path
        described = {
            **describe_collection(
                target, resource, entities_alone=child.entities, misspelt=misspelt
            ),
            **describe_creation(target, resource, misspelt=misspelt),
        }
        methods: Methods = {"GET": place.collection}
        if any(action.creates for action in target.actions):
            methods["POST"] = place.create
        router.add(below, methods, describe=described)
        if target.parent is not None:
            described = {**describe_item(target, resource), **describe_actions(target)}
            router.add(f"{below}/{{item}}", _item_methods(place), describe=described)


def _item_methods(place: Place) -> Methods:
    methods: Methods = {"GET": place.item}
    for action in place.resource.actions:
        if not action.creates:
            methods[action.method] = place.act
    if place.resource.private_to_logon:
        methods["DELETE"] = place.delete
    return methods


@dataclass(frozen=True)
class Place:
    """Where rows of a type stand: in their collection, in a view, below an item of `above`."""

    resource: ResourceType
    above: ResourceType | None = None
    child: SubCollection | None = None
    view: View | None = None

    async def collection(self, call: Call) -> Response:
        """Answer with the collection."""
        require(call, self.resource.readers, f"read {self.resource.plural}")
        restrictions = [*await self._restrictions(call), *self._recent(call)]
        schema = call.manager.schema
        always_entities = not self.resource.key or (self.child is not None and self.child.entities)
        query = Query(
            resource=self.resource,
            filter=self._view_filter(schema),
            order=parse_order(schema, self.resource, call.parameters),
            page=parse_page(call.parameters, call.settings.page_limits, required=False),
            entities=wants_entities(call.parameters) or always_entities,
        )
        found = await call.manager.reader.rows(query, tuple(restrictions))
        writer = writer_for(schema, self.resource, query.entities, call.rights)
        paging = _paging(call, query, found.total) if query.page else None
        plural = self.view.plural if self.view is not None else None
        document = Collection(writer, found.rows, call.base, paging, plural)
        return await rows_answer(call, document)

    async def item(self, call: Call) -> Response:
        """Answer with one item."""
        require(call, self.resource.readers, f"read {self.resource.plural}")
        entities = wants_entities(call.parameters)
        row = await self._row(call, entities=entities)
        writer = writer_for(call.manager.schema, self.resource, entities, call.rights)
        return answer(call.request, Item(writer, row, call.base))

    async def act(self, call: Call) -> Response:
        """Start what is asked for and answer with its task."""
        action = self._action(call)
        require(call, action.roles, f"{action.name} {self.resource.plural}")
        row = await self._row(call, entities=True)
        body = await body_of(call, self.resource, action)
        task = await call.manager.act(call.session, self.resource, action, row, body)
        return await task_answer(call, task)

    async def create(self, call: Call) -> Response:
        """Start making something below an item and answer with the task."""
        action = next(action for action in self.resource.actions if action.creates)
        if self.above is None:
            raise TypeError(f"{self.resource.name} is created below an item")
        require(call, action.roles, f"{action.name} {self.resource.plural}")
        row = await _row_above(call, self.above)
        body = await body_of(call, self.resource, action)
        task = await call.manager.act(call.session, self.resource, action, row, body, self.above)
        return await task_answer(call, task)

    async def delete(self, call: Call) -> Response:
        """Remove one of the logon session's own rows."""
        row = await self._row(call, entities=False)
        await call.manager.tasks.delete(UUID(row["UID"]))
        return Response(status_code=204)

    async def expect(self, call: Call) -> UUID:
        """Return the UID of the item that the address names. Raises NotFound."""
        return UUID((await self.row(call))["UID"])

    def _action(self, call: Call) -> Action:
        resource = self.resource
        method, written = call.request.method, call.parameter("action")
        known = [a for a in resource.actions if a.method == method and not a.creates]
        if method == "DELETE" or (method == "PUT" and not written):
            return known[0]
        found = resource.action(written.strip("/ ")) if written else None
        if found is None or found not in known:
            names = ", ".join(action.name for action in known)
            raise BadRequest(f"Parameter action: expected one of {names}.")
        return found

    async def row(self, call: Call) -> Row:
        """Return the reference of the item that the address names. Raises NotFound."""
        return await self._row(call, entities=False)

    async def _row(self, call: Call, *, entities: bool) -> Row:
        """The row that the address names. Raises NotFound."""
        name = "item" if self.above is not None else "id"
        written: str = call.request.path_params[name]
        restrictions = await self._restrictions(call)
        return await _named_row(call, self.resource, written, restrictions, entities=entities)

    def _view_filter(self, schema: Schema) -> Expression | None:
        if self.view is None or self.view.filter is None:
            return None
        return parse_filter(self.view.filter, schema.fields(self.resource))

    async def _restrictions(self, call: Call) -> list[Condition]:
        restrictions = own_restrictions(call, self.resource)
        if self.above is None or self.child is None:
            return restrictions
        uid = await _uid_above(call, self.above)
        if self.child.mentioned_in is not None:
            column = self.resource.value(self.child.mentioned_in).column
            return [*restrictions, Restriction(column, Operator.EQUAL, str(uid), mentions=True)]
        if self.child.relation is not None:
            column = self.resource.relation(self.child.relation).column
            return [*restrictions, Restriction(column, Operator.EQUAL, uid.bytes)]
        related = await call.manager.reader.related(self.above, uid, self.child.through or "")
        found = related.bytes if related else b""
        return [*restrictions, Restriction("uid", Operator.EQUAL, found)]

    def _recent(self, call: Call) -> list[Restriction]:
        created = creation_element(self.resource)
        if self.resource.recent_days is None or created is None:
            return []
        since = call.manager.clock() - self.resource.recent_days * _DAY
        column = created.column
        return [Restriction(column, Operator.GREATER_OR_EQUAL, since)]


async def _named_row(
    call: Call,
    resource: ResourceType,
    written: str,
    restrictions: Sequence[Condition],
    *,
    entities: bool,
) -> Row:
    """Given a type and what an address names its item by, return the row. Raises NotFound."""
    for identity in _identities(resource, written):
        found = (identity, *restrictions)
        row = await call.manager.reader.first(resource, found, entities=entities)
        if row is not None:
            return row
    raise not_found(resource, written)


def _identities(resource: ResourceType, written: str) -> list[Restriction]:
    """Given a type and what an address names its item by, return the conditions that may find it.

    A name in a link has some signs encoded twice; clients that make addresses encode them once.
    """
    if resource.named:
        names = dict.fromkeys((written, unquote(written)))
        column = key_column(NAME.column)
        return [Restriction(column, Operator.EQUAL, fold(name)) for name in names]
    if resource.key or resource.identifier == "UID":
        column, is_text = "uid", False
    else:
        element = resource.value(resource.identifier)
        column, is_text = element.column, isinstance(element.type, String)
    if is_text:
        return [Restriction(key_column(column), Operator.EQUAL, fold(written))]
    try:
        return [Restriction(column, Operator.EQUAL, guid_of(written).bytes)]
    except ValueError:
        return []


async def _uid_above(call: Call, above: ResourceType) -> UUID:
    """Given the type of the item that an address begins with, return its UID. Raises NotFound."""
    return UUID((await _row_above(call, above))["UID"])


async def _row_above(call: Call, above: ResourceType) -> Row:
    """Given the type of the item that an address begins with, return its row. Raises NotFound."""
    written: str = call.request.path_params["id"]
    restrictions = own_restrictions(call, above)
    return await _named_row(call, above, written, restrictions, entities=False)


async def query(call: Call) -> Response:
    """Answer a query."""
    schema = call.manager.schema
    asked = parse_query(schema, call.parameters, call.settings.page_limits)
    require(call, asked.resource.readers, f"read {asked.resource.plural}")
    found = await call.manager.reader.rows(asked, tuple(own_restrictions(call, asked.resource)))
    writer = writer_for(schema, asked.resource, asked.entities, call.rights)
    paging = _paging(call, asked, found.total)
    return await rows_answer(call, QueryAnswer(writer, found.rows, call.base, paging))


async def rows_answer(call: Call, document: Collection | QueryAnswer) -> Response:
    """Given a document of rows, return the answer; many rows are written in a thread."""
    if len(document.rows) <= ROWS_WRITTEN_AT_ONCE:
        return answer(call.request, document)
    return await asyncio.to_thread(answer, call.request, document)


async def task_answer(call: Call, uid: UUID, status: int = 202) -> Response:
    """Given a task that was just started, return the answer that tells of it."""
    schema = call.manager.schema
    resource = schema["Task"]
    identity = Restriction("uid", Operator.EQUAL, uid.bytes)
    row = await call.manager.reader.first(resource, (identity,), entities=True)
    if row is None:
        raise not_found(resource, uid)
    item = Item(writer_for(schema, resource, True, call.rights), row, call.base)
    location = call.address(f"{resource.collection}/{row[resource.identifier]}")
    return answer(call.request, item, status, {"Location": location})


def own_restrictions(call: Call, resource: ResourceType) -> list[Condition]:
    """Given a type, return what keeps the caller to the rows that are theirs to see."""
    if resource.private_to_logon:
        return [Restriction("logon_session_uid", Operator.EQUAL, call.session.uid.bytes)]
    if resource.name in TIES and not call.session.restores_everything:
        return [Within(call.session.account_uid)]
    return []


def _paging(call: Call, asked: Query, total: int) -> Paging:
    if asked.page is None:
        raise ValueError("a query without a page has no paging")
    path = call.request.scope["path"][len(BASE_PATH) :]
    return Paging(
        call.address(quote(path, safe=_SAFE_IN_PATHS)),
        call.parameters,
        asked.page.size,
        asked.page.number,
        total,
    )
