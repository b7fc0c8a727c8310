"""Why something asked for is not done."""

from __future__ import annotations


class RefusedError(Exception):
    """A command cannot be carried out. Its text is the reason, in words to act on."""
