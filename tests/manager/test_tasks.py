"""Tasks that last as long as what their command began."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest

from holdfast.catalog.store import CatalogStore
from holdfast.manager import tasks
from holdfast.manager.collection import Collector
from holdfast.manager.connection import BackupServerUnavailable
from holdfast.manager.tasks import Tasks
from holdfast.server.messages import Command, Outcome

_BEGUN = Outcome(success=True, message="Ok", cursor=1, awaits=uuid4())
_ENDED = Outcome(success=False, message="0 of 2 machines have taken over.", cursor=7)


class _Server:
    """Answers, when it is asked how a command ended, one after the other of these."""

    def __init__(self, *answers: Outcome | BackupServerUnavailable | None) -> None:
        self.answers = list(answers)

    async def outcome(self, _request: UUID) -> Outcome | None:
        answer = self.answers.pop(0)
        if isinstance(answer, BackupServerUnavailable):
            raise answer
        return answer


async def ended(server: _Server | None) -> Outcome:
    """How a command ended that had only begun something, as that server tells."""
    collector = cast(Collector, SimpleNamespace(connection=server))
    store = cast(CatalogStore, SimpleNamespace(schema={"Task": None}))
    followed = Tasks(store, lambda _uid: collector if server else None)
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
