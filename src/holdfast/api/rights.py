"""Who may make which call: one table (`holdfast.schema.calls`) for requests and for links."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import parse_qsl

from holdfast.api.errors import Forbidden
from holdfast.schema.calls import ApiCall, all_calls
from holdfast.schema.roles import Role


class Rights:
    """What the holder of some roles may do. As a function: whether a link is theirs to follow.

    What the table does not list (resource types that an installation declares itself) is left to
    the declarations of the types.
    """

    def __init__(self, roles: frozenset[Role]) -> None:
        self.roles = roles
        self._answers: dict[tuple[str, str], bool] = {}

    def __call__(self, method: str, destination: str) -> bool:
        """Given a method and an address with placeholders, say whether it leads somewhere.

        It does when the call is built and allowed.
        """
        asked = (method, destination)
        if asked not in self._answers:
            self._answers[asked] = self._leads_somewhere(method, destination)
        return self._answers[asked]

    def _leads_somewhere(self, method: str, destination: str) -> bool:
        path, _, query = destination.partition("?")
        parameters = {name.casefold(): value for name, value in parse_qsl(query)}
        meant = all_calls().find(method, path, parameters)
        return meant is None or (meant.built and bool(meant.roles & self.roles))

    def call(self, method: str, path: str, parameters: dict[str, str]) -> ApiCall | None:
        """Given a request, return the call it is, once it is allowed. Raises Forbidden.

        None for what the table does not list, and for a parameter that means none of the calls.
        """
        known = all_calls().at(method, path)
        meant = all_calls().find(method, path, parameters)
        allowed = meant.roles if meant else frozenset[Role]().union(*(c.roles for c in known))
        if known and not allowed & self.roles:
            raise Forbidden(f"{self.names} may not {meant.name if meant else f'{method} {path}'}.")
        return meant

    @property
    def names(self) -> str:
        """The roles in words."""
        held = sorted(role.value for role in self.roles)
        return f"The role{'s' if len(held) > 1 else ''} {' and '.join(held)}"


def roles_of(method: str, path: str) -> frozenset[Role]:
    """Given a method and an address with placeholders, return who may make a call there."""
    return frozenset[Role]().union(*(call.roles for call in all_calls().at(method, path)))


@lru_cache(maxsize=1 << len(Role))
def rights_of(roles: frozenset[Role]) -> Rights:
    """Given roles, return what their holder may do: always the same object for the same roles."""
    return Rights(roles)
