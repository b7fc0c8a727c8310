"""Commands that the Holdfast that runs carries out: they log on to its API."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import typer

from holdfast.cli.api_client import logged_on
from holdfast.cli.commands.options import (
    DataOption,
    PasswordFileOption,
    PortOption,
    ReadyFileOption,
    UserOption,
    settings_of,
)
from holdfast.cli.passwords import ADMINISTRATOR

_OPTIONS: dict[str, Any] = {
    "user": UserOption,
    "data": DataOption,
    "http_port": PortOption,
    "ready_file": ReadyFileOption,
    "password_file": PasswordFileOption,
}


def over_api(work: Callable[..., None]) -> Callable[..., None]:
    """Given what is done with an `ApiClient`, return the command that logs on and does it.

    The command has the other parameters of `work`, and the options that say where Holdfast runs
    and who logs on.
    """

    def command(context: typer.Context, **given: Any) -> None:
        own = {name: value for name, value in given.items() if name not in _OPTIONS}
        with logged_on(settings_of(context), given["user"]) as api:
            work(api, **own)

    hints = get_type_hints(work, include_extras=True)
    _api, *parameters = inspect.signature(work).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    every = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    every += [each.replace(kind=keyword, annotation=hints[each.name]) for each in parameters]
    for name, option in _OPTIONS.items():
        default = ADMINISTRATOR if name == "user" else None
        every.append(inspect.Parameter(name, keyword, default=default, annotation=option))
    # This is what typer makes arguments and options of.
    command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in every}
    command.__doc__ = work.__doc__
    command.__name__ = work.__name__
    return command
