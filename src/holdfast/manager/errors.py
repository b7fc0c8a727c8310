"""What can come between a request and the manager doing it."""

from __future__ import annotations


class LogonSessionOver(Exception):
    """The logon session has ended meanwhile."""


class ResourceGone(Exception):
    """What was to be acted on has gone meanwhile."""
