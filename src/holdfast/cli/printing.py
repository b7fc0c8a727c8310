"""Tables on the terminal, or in a file: then of any width."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

# No terminal, no width: rows are then never broken or cut.
_UNLIMITED = 10_000


def new_table() -> Table:
    """Return an empty table."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)


def print_table(table: Table) -> None:
    """Write a table to standard output."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    console.print(table)
