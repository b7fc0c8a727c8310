"""Who this server is: its row in the database. Each function runs in a transaction."""

from __future__ import annotations

import socket
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

import holdfast
from holdfast.server import outbox, tables
from holdfast.server.messages import Information
from holdfast.server.publish import publish_managed_server


def introduce(connection: Connection, name: str) -> None:
    """Write down who the server is, on its first start; its name may change later."""
    if connection.scalar(select(tables.server.c.uid)) is not None:
        connection.execute(update(tables.server).values(name=name))
        return
    connection.execute(insert(tables.server).values(uid=uuid4(), epoch=uuid4(), name=name))
    host = uuid4()
    connection.execute(
        insert(tables.managed_server).values(
            uid=host, name=socket.gethostname(), kind="Local", description="This server"
        )
    )
    publish_managed_server(connection, host)


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
