"""Tasks that last as long as what their command began."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest

from holdfast.catalog.store import CatalogStore
from holdfast.manager import tasks
from holdfast.manager.collection import Collector
from holdfast.manager.connection import BackupServerNotTrusted, BackupServerUnavailable
from holdfast.manager.enterprise_manager import EnterpriseManager
from holdfast.manager.tasks import Tasks
from holdfast.server.messages import Command, Outcome
from support.managers import ADMINISTRATOR, add_administrator, running_manager

from .test_collection import names

_BEGUN = Outcome(success=True, message="Ok", cursor=1, awaits=uuid4())
_ENDED = Outcome(success=False, message="0 of 2 machines have taken over.", cursor=7)


class _Server:
    """Answers, when it is asked how a command ended, one after the other of these."""

    def __init__(self, *answers: Outcome | BackupServerUnavailable | None) -> None:
        self.answers = list(answers)
        self.asked = asyncio.Event()

    async def outcome(self, _request: UUID) -> Outcome | None:
        answer = self.answers.pop(0)
        if isinstance(answer, BackupServerUnavailable):
            raise answer
        return answer

    async def execute(self, _command: Command) -> Outcome:
        """Never answer: the manager is stopped before."""
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError


def collector_of(server: _Server) -> Collector:
    async def reach(_cursor: int) -> None:
        """There is nothing to collect."""

    return cast(Collector, SimpleNamespace(connection=server, reach=reach))


async def ended(server: _Server | None) -> Outcome:
    """How a command ended that had only begun something, as that server tells."""
    store = cast(CatalogStore, SimpleNamespace(schema={"Task": None}))
    followed = Tasks(store, lambda _uid: collector_of(server) if server else None)
    command = Command(request_id=uuid4(), operation="start-failover-plan")
    return await followed._ended(uuid4(), command, _BEGUN)


async def test_what_goes_on_is_asked_about_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "_LONGEST_PAUSE", 0.0)
    away = BackupServerUnavailable("it does not answer")
    server = _Server(_BEGUN, away, away, _BEGUN, _ENDED)
    assert await ended(server) == _ENDED
    assert not server.answers
    forgotten = await ended(_Server(_BEGUN, None))
    assert (forgotten.success, forgotten.awaits) == (False, None)
    assert "does not know any more" in forgotten.message
    with pytest.raises(BackupServerUnavailable):
        await ended(None)


async def after_a_restart(manager: EnterpriseManager, server: _Server | None) -> tuple[bool, str]:
    """How a task ended whose manager was restarted when it had sent the command."""
    taken = _Server()
    before = Tasks(manager.store, lambda _uid: collector_of(taken))
    account = await manager.accounts.authenticate(*ADMINISTRATOR, "192.0.2.1")
    session = await manager.logon_sessions.open(account)
    command = Command(request_id=uuid4(), operation="start-failover-plan")
    uid = await before.start(session, "StartFailoverPlan", uuid4(), command)
    await taken.asked.wait()
    await before.stop()
    after = Tasks(manager.store, lambda _uid: collector_of(server) if server else None)
    await after.resume()
    [following] = after._followed.values()
    async with asyncio.timeout(20):
        await following
    left = "SELECT count(*) FROM unfinished_command"
    assert await manager.store.read(lambda c: c.execute(left).fetchone()) == (0,)
    shown = (await names(manager, "Task"))[uid]
    assert shown["State"] == "Finished"
    return shown["Result"]["Success"], shown["Result"]["Message"]


async def test_a_restarted_manager_asks_until_the_backup_server_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_FIRST_PAUSE", 0.0)
    away = BackupServerUnavailable("it does not answer")
    done = Outcome(success=True, message="2 of 2 machines have taken over.", cursor=7)
    async with running_manager(tmp_path) as manager:
        await add_administrator(manager)
        server = _Server(away, away, _BEGUN, away, _BEGUN, done)
        assert await after_a_restart(manager, server) == (True, done.message)
        server = _Server(away, None)
        success, message = await after_a_restart(manager, server)
        assert not success
        assert "was not tried again" in message
        # What no waiting mends is told at once.
        server = _Server(away, BackupServerNotTrusted("it does not accept the token"))
        expected = "Backup server: it does not accept the token."
        assert await after_a_restart(manager, server) == (False, expected)
        expected = "Backup server: it is not connected."
        assert await after_a_restart(manager, None) == (False, expected)
