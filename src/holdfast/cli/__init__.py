"""The command line: what a person types to run Holdfast and to restore with it."""


def main() -> None:
    """Carry out the arguments of the process and end it."""
    # Imported here, so that a part of this package can be had without all of its commands.
    from holdfast.cli.application import run

    raise SystemExit(run())
