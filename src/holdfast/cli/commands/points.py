"""`holdfast points`: what can be restored."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.filesize import decimal
from rich.table import Table

from holdfast.cli.commands.options import DataOption
from holdfast.cli.data_directory import DataDirectory
from holdfast.cli.printing import new_table, print_table
from holdfast.cli.restore_points import Point, read_points
from holdfast.cli.settings_loading import load


def points(
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the restore points, newest first. Holdfast may be running or not."""
    found = read_points(DataDirectory.at(load({"data": data}).data))
    if as_json:
        typer.echo(json.dumps([_json(point) for point in found], indent=2))
        return
    print_table(_table(found))


def _json(point: Point) -> dict[str, Any]:
    created = point.created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return asdict(point) | {"uid": str(point.uid), "created": created}


def _state(point: Point) -> str:
    if point.damaged is not None:
        return f"damaged: {point.damaged}"
    kept = f", kept: {', '.join(point.kept_for)}" if point.kept_for else ""
    encrypted = "" if point.password is None else ", encrypted"
    return f"good{kept}{encrypted}"


def _table(found: list[Point]) -> Table:
    table = new_table()
    for heading in ("Point", "Created (local time)", "Job", "Name", "Kind"):
        table.add_column(heading, no_wrap=heading == "Point")
    table.add_column("Size", justify="right")
    table.add_column("State")
    for point in found:
        created = f"{point.created.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(
            str(point.uid),
            created,
            point.job,
            point.name,
            point.kind,
            decimal(point.size),
            _state(point),
        )
    return table
