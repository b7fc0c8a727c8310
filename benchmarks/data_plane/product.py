"""All of Holdfast, as people run it: a job over a host, started by the API."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID

from benchmarks.data_plane.machine import Machine
from fault.holdfast_process import HoldfastProcess
from holdfast.server.libvirt_references import machine_reference
from holdfast.server.restore import restore_point

_LEAST_PAUSE = 0.02


class Product:
    """`holdfast up` with a job that backs the machine up."""

    name = "Holdfast, a job"

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.holdfast = HoldfastProcess(folder / "data", folder / "log.txt")
        self.holdfast.start()
        host = {"uri": machine.guest.host.uri, "name": "kvm1"}
        self.holdfast.finished(self.holdfast.act("/holdfast/v1/hosts", host))
        [found] = self.holdfast.client.get("/holdfast/v1/hosts").json()["hosts"]
        self._job = self.holdfast.create_job(
            {
                "name": "Benchmark",
                "repository": self.holdfast.entities("Repository")[0]["UID"],
                "objects": [
                    {"reference": machine_reference(UUID(found["uid"]), machine.guest.uuid)}
                ],
            }
        )

    def full(self) -> None:
        self._run()

    def increment(self) -> None:
        self._run()

    def restore(self, target: Path) -> Path:
        points = self.holdfast.entities("VmRestorePoint")
        newest = max(points, key=lambda point: str(point["CreationTimeUTC"]))
        uid = UUID(newest["UID"].rpartition(":")[2])
        directory = self.holdfast.data / "server"
        [machine] = asyncio.run(restore_point(directory, uid, target / "machine"))
        return machine.path / "vda.raw"

    def _run(self) -> None:
        begun = time.monotonic()
        task = self.holdfast.act(f"/jobs/{self._job}?action=start")
        session = self.holdfast.related(self.holdfast.finished(task))
        # As often as tells its time to a fiftieth: to be asked all the time is work of its own.
        while self._state(session) != "Stopped":
            time.sleep(max(_LEAST_PAUSE, (time.monotonic() - begun) / 50))
        assert self.holdfast.ended(session)["Result"] == "Success"

    def _state(self, session: str) -> str:
        answer = self.holdfast.client.get(f"/backupSessions/{session}?format=Entity")
        return str(answer.json()["State"])

    def memory(self, what: str) -> int:
        """Return "VmRSS", the memory in use now, or "VmHWM", the most there was, in bytes."""
        status = Path(f"/proc/{self.holdfast.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith(f"{what}:")]
        return int(line.split()[1]) * 1024
