"""The log: one line per event on standard error, and all there is to know in a file."""

from __future__ import annotations

import logging
import os
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: Libraries whose everyday words are not news.
_QUIET = ("uvicorn", "httpx", "httpcore", "alembic", "asyncio", "hpack")


class _OneLine(logging.Formatter):
    """Writes a record on one line, times in UTC; a traceback follows only a debug record."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line = super().format(record) if record.levelno <= logging.DEBUG else self._short(record)
        return line if record.levelno <= logging.DEBUG else " ".join(line.splitlines())

    def _short(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        return line if error is None else f"{line}: {type(error).__name__}: {error}"


def configure(verbose: bool) -> None:
    """Send the log to standard error: warnings and news, or with `verbose` everything."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(_FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if verbose else logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)


class _Whole(_OneLine):
    """Writes a record with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, over several lines if need be."""
        return logging.Formatter.format(self, record)


def keep_in(path: Path) -> None:
    """Given a path, keep the log there, too: with tracebacks, 5 MB at most and as much before."""
    os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    handler = RotatingFileHandler(path, maxBytes=5_000_000, backupCount=1, encoding="utf-8")
    handler.setFormatter(_Whole(_FORMAT))
    logging.getLogger().addHandler(handler)
