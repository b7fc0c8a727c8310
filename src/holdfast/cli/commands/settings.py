"""`holdfast settings`: a sample of the settings file."""

from __future__ import annotations

import typer

from holdfast.cli.settings_sample import sample


def settings() -> None:
    """Print a commented sample of the settings file, holdfast.toml."""
    typer.echo(sample(), nl=False)
