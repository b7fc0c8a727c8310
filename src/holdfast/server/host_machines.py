"""Which of the machines that hosts have are one and the same: those that migrate, or have migrated.

For as long as a machine migrates it is on two hosts, and it may stay defined on the one that it
has left; when a host is lost, its machines are started on others. It is shown where it runs. Two
machines that have one UUID and yet run both, or have disks of their own, are two. Each function
runs in a writing transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Row, select, update

from holdfast.server import tables

_AVAILABLE = "Available"


def show_each_once(connection: Connection, uuids: Collection[str]) -> list[Row[Any]]:
    """Show machines where they are now, and nowhere else; return the rows this has changed."""
    table, host = tables.host_machine, tables.host
    rows = defaultdict[str, list[Row[Any]]](list)
    # On a host that is away, what ran there may have been started elsewhere.
    runs = (table.c.active & (host.c.state == _AVAILABLE)).label("runs")
    query = select(table, runs).join(host, host.c.uid == table.c.host_uid)
    query = query.where(table.c.uuid.in_(uuids)).order_by(table.c.host_uid)
    for row in connection.execute(query):
        rows[row.uuid].append(row)
    changed = []
    for uuid, same in rows.items():
        shown = {row.host_uid for row in _each_once([row for row in same if row.defined])}
        for row in same:
            if row.present != (row.host_uid in shown):
                here = (table.c.host_uid == row.host_uid) & (table.c.uuid == uuid)
                connection.execute(update(table).where(here).values(present=row.host_uid in shown))
                changed.append(row)
    return changed


def active_on(connection: Connection, hosts: Collection[UUID]) -> dict[str, frozenset[UUID]]:
    """Return, by UUID, where the machines that some hosts know were on when last looked at."""
    table = tables.host_machine
    known = select(table.c.uuid).where(table.c.host_uid.in_(hosts))
    query = select(table.c.uuid, table.c.host_uid).where(table.c.active, table.c.uuid.in_(known))
    found: dict[str, frozenset[UUID]] = {}
    for row in connection.execute(query):
        found[row.uuid] = found.get(row.uuid, frozenset()) | {row.host_uid}
    return found


def hosts_in_doubt(
    connection: Connection, looked_at: Collection[UUID], before: dict[str, frozenset[UUID]]
) -> set[UUID]:
    """Return the hosts to be looked at again: machines may have moved while that was done.

    `before` is what `active_on` returned before the hosts were looked at. A machine that is off
    there now, and on at none of the others, may run on any host; one that came up beside itself
    may have left by now.
    """
    asked, now, doubtful = set(looked_at), active_on(connection, looked_at), set[UUID]()
    for uuid, hosts in now.items():
        if len(hosts) > 1 and hosts != before.get(uuid):
            doubtful |= hosts
    if any(
        hosts & asked and not now.get(uuid, frozenset()) & asked for uuid, hosts in before.items()
    ):
        host = tables.host
        doubtful |= set(connection.scalars(select(host.c.uid).where(host.c.state == _AVAILABLE)))
    return doubtful


def moved_to(
    connection: Connection,
    uuid: str,
    host: UUID,
    hosts: Collection[UUID],
    disks: Collection[str] | None = None,
) -> Row[Any] | None:
    """Return the row of a machine at another host than `host`, with the ``host_name``, or None.

    Only these `hosts` are looked at; where it is on comes first. A machine that has disks of its
    own, beside `disks`, by default those it had at `host`, is another one.
    """
    table, names = tables.host_machine, tables.host
    same = table.c.uuid == uuid.lower()
    here = connection.execute(select(table).where(same, table.c.host_uid == host)).first()
    if disks is None:
        disks = [] if here is None else _disks_of(here)
    query = (
        select(table, names.c.name.label("host_name"))
        .join(names, names.c.uid == table.c.host_uid)
        .where(same, table.c.defined, table.c.host_uid.in_(hosts), table.c.host_uid != host)
        .order_by(table.c.active.desc(), table.c.ran.desc(), table.c.seen.desc())
    )
    rows = connection.execute(query)
    return next((row for row in rows if _may_be_same(set(disks), _disks_of(row))), None)


def _each_once(rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Given the rows of machines with one UUID, return one for each machine."""
    found: list[Row[Any]] = []
    for row in sorted(rows, key=lambda row: (not row.runs, -row.ran, -row.seen)):
        if row.runs or not any(_may_share_disks(row, other) for other in found):
            found.append(row)
    return found


def _may_share_disks(row: Row[Any], other: Row[Any]) -> bool:
    return _may_be_same(_disks_of(row), _disks_of(other))


def _may_be_same(ours: set[str], theirs: set[str]) -> bool:
    return not ours or not theirs or bool(ours & theirs)


def _disks_of(row: Row[Any]) -> set[str]:
    return set(msgspec.json.decode(row.disks, type=list[str]))
