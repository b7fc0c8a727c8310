"""Lets a replica take over, and takes that back.

Each function brings the replica from wherever it is to where it is to be: it can be killed at any
moment and called again. Nothing here writes to the files of a point.

    Ready      ──fail_over──▶     Failover     the machine runs on layers of its own
    Failover   ──take_back──▶     Ready        the layers are gone
    Failover   ──(nothing)──▶     permanent    the layers stay: the machine needs them
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from holdfast.engine.errors import MachineBusy, MachineMissing
from holdfast.engine.libvirt_connection import LibvirtConnection
from holdfast.engine.libvirt_domain import REPLICA_MARK
from holdfast.engine.libvirt_machine import LibvirtMachine, State
from holdfast.engine.libvirt_overlay import (
    FailoverPlan,
    layered_definition,
    make_layers,
    remove_layers,
)
from holdfast.engine.libvirt_saved import ensure_nothing_saved

_POLL_SECONDS = 0.2


async def fail_over(connection: LibvirtConnection, plan: FailoverPlan) -> None:
    """Make the layers, define the replica on them, and start it.

    Once the replica is defined on its layers they are never made anew, since it may have run. Raise
    MachineBusy when it runs on anything else, ChainBroken naming the file when one of the point's
    is missing or damaged, NoSpace, RepositoryUnavailable, HypervisorUnavailable or
    HypervisorFailed. What is then left is ended by `take_back`, or by calling this again.
    """
    machine = LibvirtMachine(connection, plan.identity.uuid)
    if not await is_failed_over(connection, plan):
        if await _state(machine) is not State.OFF:
            raise MachineBusy(f"The replica {plan.identity.name} runs already; power it off first.")
        await _ensure_nothing_saved(machine, plan.identity.name)
        await make_layers(plan)
        # Somebody may have had it start by itself: then it would, beside a source that is back.
        with contextlib.suppress(MachineMissing):
            await start_with_host(connection, plan.identity.uuid, on=False)
        await machine.define(await layered_definition(connection, plan))
    if await machine.state() is State.OFF:
        await machine.start()


async def is_failed_over(connection: LibvirtConnection, plan: FailoverPlan) -> bool:
    """Say whether the replica is defined on its layers: then it may have run on them."""
    machine = LibvirtMachine(connection, plan.identity.uuid)
    try:
        return plan.stands_in(await machine.definition(live=False))
    except MachineMissing:
        return False


async def take_back(connection: LibvirtConnection, plan: FailoverPlan) -> None:
    """Power the replica off, define it as it is while Ready, and remove its layers.

    Whatever it has written since it took over is gone, and a saved memory with it. It never touches
    a machine that runs on anything but these layers. Raise MachineBusy, HypervisorUnavailable,
    HypervisorFailed or RepositoryUnavailable; then it is to be called again.
    """
    machine = LibvirtMachine(connection, plan.identity.uuid)
    state = await _state(machine)
    if state is not State.OFF:
        if not plan.stands_in(await machine.definition(live=True)):
            raise MachineBusy(f"The replica {plan.identity.name} runs on other disks than its own.")
        await machine.destroy()
    # It would go on over what it has then, and at the next failover over other layers.
    with contextlib.suppress(MachineMissing):
        await machine.discard_saved()
    await machine.define(plan.ready)
    await remove_layers(plan)


async def start(connection: LibvirtConnection, uuid: str) -> None:
    """Power a machine on, unless it is."""
    machine = LibvirtMachine(connection, uuid)
    if await machine.state() is State.OFF:
        await machine.start()


async def keep_on(connection: LibvirtConnection, uuid: str, seconds: float) -> None:
    """Have a machine on, although its guest may be shutting down: nothing can call that off.

    One that goes off within so many seconds is powered on again.
    """
    machine = LibvirtMachine(connection, uuid)
    limit = time.monotonic() + seconds
    while await machine.state() is not State.OFF:
        if time.monotonic() >= limit:
            return
        await asyncio.sleep(_POLL_SECONDS)
    await machine.start()


async def is_on(connection: LibvirtConnection, uuid: str) -> bool:
    """Say whether a machine is powered on; raise MachineMissing."""
    return await LibvirtMachine(connection, uuid).state() is not State.OFF


async def starts_with_host(connection: LibvirtConnection, uuid: str) -> bool:
    """Say whether a machine is started when its host is booted; raise MachineMissing."""
    return await connection.call(
        lambda _library, connect: bool(connect.lookupByUUIDString(uuid).autostart()),
        doing=f"looking whether {uuid} starts with its host",
    )


async def start_with_host(connection: LibvirtConnection, uuid: str, *, on: bool) -> None:
    """Have a machine started when its host is booted, or not; raise MachineMissing."""

    def change(_library: Any, connect: Any) -> None:
        domain = connect.lookupByUUIDString(uuid)
        # One without a stored definition cannot be asked to, not even for what is so already.
        if bool(domain.autostart()) != on:
            domain.setAutostart(int(on))

    await connection.call(change, doing=f"changing whether {uuid} starts with its host")


async def power_off(connection: LibvirtConnection, uuid: str) -> None:
    """Power a machine off at once, unless it is."""
    machine = LibvirtMachine(connection, uuid)
    if await machine.state() is not State.OFF:
        await machine.destroy()


async def make_permanent(connection: LibvirtConnection, uuid: str) -> None:
    """Take away what marks a machine as a replica; it goes on running on its layers."""

    def unmark(library: Any, connect: Any) -> None:
        domain = connect.lookupByUUIDString(uuid)
        places = library.VIR_DOMAIN_AFFECT_CONFIG
        if domain.isActive():
            places |= library.VIR_DOMAIN_AFFECT_LIVE
        element = library.VIR_DOMAIN_METADATA_ELEMENT
        try:
            domain.setMetadata(element, None, None, REPLICA_MARK, places)
        except library.libvirtError as error:
            if error.get_error_code() != library.VIR_ERR_NO_DOMAIN_METADATA:
                raise  # else it has none any more

    await connection.call(unmark, doing=f"making {uuid} an ordinary machine")


async def shut_down(
    connection: LibvirtConnection, uuid: str, seconds: float, *, force: bool
) -> str | None:
    """Have the guest shut down; return a sentence when it had to be powered off, or None.

    Raise MachineBusy when it is not off after that many seconds and ``force`` is not set; it may
    still go off then (see `keep_on`).
    """
    machine = LibvirtMachine(connection, uuid)
    if await machine.shut_down(seconds):
        return None
    took = f"did not shut down within {seconds:g} s"
    if not force:
        raise MachineBusy(
            f"The machine {uuid} {took}; it may still do so. Shut it down by hand, give it more "
            "time, or let it be powered off."
        )
    await machine.destroy()
    return f"The machine {uuid} {took} and was powered off: its guest did not end cleanly."


async def ready_definition(connection: LibvirtConnection, uuid: str) -> str:
    """Return the definition that a replica has while it is not failed over."""
    return await LibvirtMachine(connection, uuid).definition(live=False)


async def _ensure_nothing_saved(machine: LibvirtMachine, name: str) -> None:
    with contextlib.suppress(MachineMissing):
        await ensure_nothing_saved(machine, name)


async def _state(machine: LibvirtMachine) -> State:
    try:
        return await machine.state()
    except MachineMissing:
        return State.OFF
