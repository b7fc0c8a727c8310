"""What can be done with a replica in which state, and what is written down while it is done. Pure.

Ready ── failover, planned-failover ──▶ Failover ── failback ──▶ Failback
  ▲                                      │    │  ▲                  │  │
  ├──────────────────── undo-failover ───┘    │  └─ undo-failback ──┘  │
  ├──────────────────────────────── commit-failback ───────────────────┘
                    PermanentFailover ◀── permanent-failover
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row

from holdfast.engine.known_file import KnownFile
from holdfast.engine.libvirt_new_place import NewPlace
from holdfast.server.refusal import RefusedError
from holdfast.server.replicas import ReplicaState


class Operation(StrEnum):
    """What a person can ask of a replica."""

    FAILOVER = "failover"
    PLANNED = "planned-failover"
    UNDO = "undo-failover"
    PERMANENT = "permanent-failover"
    FAILBACK = "failback"
    COMMIT = "commit-failback"
    UNDO_FAILBACK = "undo-failback"


POSSIBLE: Mapping[ReplicaState, tuple[Operation, ...]] = {
    ReplicaState.READY: (Operation.FAILOVER, Operation.PLANNED),
    ReplicaState.PROCESSING: (),
    ReplicaState.FAILOVER: (Operation.UNDO, Operation.PERMANENT, Operation.FAILBACK),
    ReplicaState.FAILBACK: (Operation.COMMIT, Operation.UNDO_FAILBACK),
    ReplicaState.PERMANENT: (),
}

_WORDS: Mapping[ReplicaState, str] = {
    ReplicaState.READY: "stands ready",
    ReplicaState.PROCESSING: "is being replicated",
    ReplicaState.FAILOVER: "has taken over",
    ReplicaState.FAILBACK: "has been failed back",
    ReplicaState.PERMANENT: "has taken over for good",
}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a failback goes, if not to the source: what is made there, on which host.

    `files` are those that are about to be named, or were; older versions have noted no devices.
    """

    host: UUID
    folder: str
    name: str
    uuid: str
    networks: Mapping[str, str] = {}
    files: tuple[KnownFile, ...] = ()

    @property
    def known(self) -> NewPlace:
        """The place as the engine knows it."""
        return NewPlace(self.name, self.uuid, Path(self.folder), self.networks)


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a failover, from before the first change until the replica is ready again.

    `doing` is the operation that is under way, None when the replica is in the state that its row
    names. `back` says that it is to be undone, not carried on. `point` is the one that took over,
    `key` tells its layers, `ready` is the replica's definition before. `source_was_on` and
    `replica_was_on`: it was before it was shut down. `source_written`: a failback has begun to
    write to the source's disks and not come to its end. `arrived`: all of it is there.
    `source_started`: the source was told to start after that. `brought` tells in words what the
    last failback compared and wrote. `place` is that of a failback to another one. `asked` tells
    for how many seconds a guest was asked to shut down: it may still do so. `autostart`: the source
    was started with its host before that was turned off, None while that is not known or is as it
    was; `quiet`: it was seen to be off. `beside` names the host on which the source was seen to run
    last while the replica had taken over. A replica that is ready has a record only for as long as
    the source's host is away and `autostart` is to be given back.
    """

    doing: Operation | None
    point: UUID | None = None
    key: str = ""
    ready: str = ""
    back: bool = False
    source_was_on: bool = False
    replica_was_on: bool = False
    source_written: bool = False
    arrived: bool = False
    source_started: bool = False
    brought: str = ""
    place: Place | None = None
    asked: float = 0.0
    autostart: bool | None = None
    quiet: bool = False
    beside: str = ""


def record_of(row: Row[Any]) -> Failover | None:
    """Given the row of a replica, return the record of its failover."""
    return None if row.failover is None else msgspec.json.decode(row.failover, type=Failover)


def encoded(record: Failover | None) -> str | None:
    """Return a record as its column holds it."""
    return None if record is None else msgspec.json.encode(record).decode()


def check(row: Row[Any], operation: Operation, *, force: bool = False) -> None:
    """Refuse an operation that a replica's state does not allow, saying which it does.

    By force, what waits for a source's host that may never answer is given up.
    """
    state, record = ReplicaState(row.state), record_of(row)
    if record is not None and record.doing is not None:
        way_out = _without_source(state, record)
        if force and operation is way_out:
            return
        told = (
            ""
            if way_out is None
            else f" If the source's host is gone for good: {way_out} with force."
        )
        raise RefusedError(
            f'Replica "{row.machine_name}": {record.doing} is not settled yet; it will be as soon '
            f"as the hosts concerned answer.{told} If its own host is gone for good: remove the "
            "replica with force."
        )
    possible = POSSIBLE[state]
    if operation not in possible:
        what = f"possible: {', '.join(possible)}" if possible else "nothing is possible now"
        raise RefusedError(
            f'Replica "{row.machine_name}" {_WORDS[state]} (state {state}), so {operation} is '
            f"refused; {what}."
        )
    if operation is Operation.UNDO and record is not None and record.source_written:
        raise RefusedError(
            f'Replica "{row.machine_name}": a failback that did not come to its end has written to '
            "the disks of the source machine, so there is nothing to go back to. Possible: "
            f"{Operation.FAILBACK}, {Operation.PERMANENT}."
        )


def _without_source(state: ReplicaState, record: Failover) -> Operation | None:
    """Return what can be asked for by force when what is under way waits for the source's host.

    None when that is not what it waits for.
    """
    match record.doing:
        case Operation.UNDO_FAILBACK:
            return Operation.UNDO_FAILBACK
        case Operation.FAILBACK if record.back:
            return Operation.UNDO_FAILBACK
        # The replica stands ready again; all that is left is to start the source.
        case Operation.FAILOVER | Operation.PLANNED if record.back and state is ReplicaState.READY:
            return Operation.FAILOVER
    return None
