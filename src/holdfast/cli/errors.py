"""What a command tells a person who cannot be given what they asked for: one line, no traceback."""


class CommandError(Exception):
    """A command ends here. Its message is the one line that is shown."""

    exit_code = 1


class Failure(CommandError):
    """The command was understood, but could not be carried out."""


class BadInput(CommandError):
    """An option, a variable or a settings file holds what it must not. The message names it."""

    exit_code = 2
