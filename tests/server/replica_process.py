"""A backup server of its own process, which starts a job and is then killed by the test."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID, uuid4

from holdfast.server.backup_server import BackupServer
from holdfast.server.messages import Command


async def main(folder: Path, job: UUID) -> None:
    server = BackupServer(folder, "backup01")
    await server.start()
    command = Command(request_id=uuid4(), operation="start-job", target=job)
    outcome = await server.execute(command)
    assert outcome.success, outcome.message
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), UUID(sys.argv[2])))
