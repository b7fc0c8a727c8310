"""Who this server is: its row in the database. Each function runs in a transaction."""

from __future__ import annotations

import socket
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

import holdfast
from holdfast.server import outbox, tables
from holdfast.server.hierarchy import publish_hierarchy
from holdfast.server.messages import Information


def introduce(connection: Connection, name: str) -> None:
    """Write down who the server is, on its first start; its name may change later."""
    if connection.scalar(select(tables.server.c.uid)) is not None:
        connection.execute(update(tables.server).values(name=name))
    else:
        connection.execute(insert(tables.server).values(uid=uuid4(), epoch=uuid4(), name=name))
        connection.execute(
            insert(tables.managed_server).values(
                uid=uuid4(), name=socket.gethostname(), kind="Local", description="This server"
            )
        )
    publish_hierarchy(connection)


def information(connection: Connection) -> Information:
    """Return who the server is, and where its feed ends."""
    row = connection.execute(select(tables.server)).one()
    return Information(
        uid=row.uid,
        epoch=row.epoch,
        name=row.name,
        description="Holdfast backup server",
        version=holdfast.__version__,
        cursor=outbox.cursor(connection),
    )


def renew_epoch(connection: Connection) -> None:
    """Let the feed start anew: managers will read it from its beginning."""
    connection.execute(update(tables.server).values(epoch=uuid4()))
