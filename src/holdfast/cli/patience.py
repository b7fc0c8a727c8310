"""How long a connection of the API waits for its client."""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds that a client is given for a whole request, from its first byte or, for the first one,
#: from its connection. Bodies are small here.
REQUEST_SECONDS = 60.0


class PatientForATime(H11Protocol):
    """HTTP as uvicorn speaks it, but nobody keeps a connection by half a request, or by none.

    (uvicorn counts the time between two requests alone.) An answer may take as long as it takes:
    it is the client that is waited for, not Holdfast and not the way of a large file.
    """

    _giving_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        if (bound := transport.get_extra_info("socket")) is not None:
            # A peer that has gone without a word is found out by the system, in the end.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take in what has come, and wait for the rest."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _watch(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_waiting()
        elif self._giving_up is None and not self.transport.is_closing():
            self._giving_up = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _give_up(self) -> None:
        self._giving_up = None
        self.transport.close()
