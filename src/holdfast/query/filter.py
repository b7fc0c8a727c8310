"""The filter grammar.

::

    filter     := and { "," and }                  "," is OR
    and        := primary { ";" primary }          ";" is AND and binds tighter
    primary    := "(" filter ")" | comparison
    comparison := field operator value
    operator   := "==" | "!=" | ">=" | "<=" | ">" | "<"
    value      := '"' text, '"' doubled '"' | text up to ";" "," ")" or the end

A value such as ``""Backup""`` is the documented way to write a name that is itself quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from holdfast.query.errors import FilterError
from holdfast.query.expression import All, Any, Comparison, Expression, Operator
from holdfast.query.literals import comparable
from holdfast.schema.resource import QueryField

#: Bounds on what one filter may ask for; beyond them it is refused, not tried.
MAXIMUM_BYTES = 8 * 1024
MAXIMUM_COMPARISONS = 256
MAXIMUM_DEPTH = 32

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile("|".join(re.escape(operator.value) for operator in Operator))
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
# Not what begins like the end of an empty value: in ``Name=="";Reason==""`` there are two of those.
_DOUBLY_QUOTED = re.compile(r'""(?!\s*[;,)])([^"]+)""(?=\s*(?:[;,)]|$))')
_BARE = re.compile(r"[^;,)]*")


def parse_filter(text: str, fields: Mapping[str, QueryField]) -> Expression | None:
    """Given a filter and the type's fields by lower-case name, return what it asks for.

    An empty filter asks for nothing: None. Raises FilterError, which names the position and what
    was expected there.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAXIMUM_BYTES:
        raise FilterError(1, f"expected at most {MAXIMUM_BYTES} bytes")
    if not text.strip():
        return None
    return _Parser(text, fields).parse()


class _Parser:
    """A recursive descent over the text of one filter."""

    def __init__(self, text: str, fields: Mapping[str, QueryField]) -> None:
        self._text = text
        self._fields = fields
        self._at = 0
        self._comparisons = 0

    def parse(self) -> Expression:
        """Return the whole filter's expression."""
        expression = self._any(depth=0)
        if self._at < len(self._text):
            raise self._error("expected ';', ',' or the end of the filter")
        return expression

    def _any(self, depth: int) -> Expression:
        return self._joined(",", lambda: self._all(depth), Any)

    def _all(self, depth: int) -> Expression:
        return self._joined(";", lambda: self._primary(depth), All)

    def _joined(
        self,
        separator: str,
        part: Callable[[], Expression],
        join: Callable[[tuple[Expression, ...]], Expression],
    ) -> Expression:
        parts = [part()]
        while self._take(separator):
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _primary(self, depth: int) -> Expression:
        if not self._take("("):
            return self._comparison()
        if depth >= MAXIMUM_DEPTH:
            raise self._error(f"expected at most {MAXIMUM_DEPTH} levels of parentheses")
        expression = self._any(depth + 1)
        if not self._take(")"):
            raise self._error("expected ';', ',' or ')'")
        return expression

    def _comparison(self) -> Comparison:
        field = self._field()
        operator = self._operator()
        start = self._skip_space()
        text = self._value()
        self._comparisons += 1
        if self._comparisons > MAXIMUM_COMPARISONS:
            raise FilterError(start + 1, f"expected at most {MAXIMUM_COMPARISONS} comparisons")
        try:
            operator, value = comparable(field.type, operator, text)
        except ValueError as error:
            raise FilterError(start + 1, f"{error} as the value of {field.name}") from None
        return Comparison(field, operator, value)

    def _field(self) -> QueryField:
        start = self._skip_space()
        found = _NAME.match(self._text, start)
        if found is None:
            raise self._error("expected the name of a field or '('")
        field = self._fields.get(found[0].casefold())
        if field is None:
            known = ", ".join(sorted(known.name for known in self._fields.values()))
            raise FilterError(start + 1, f"there is no field {found[0]}; expected one of {known}")
        self._at = found.end()
        return field

    def _operator(self) -> Operator:
        start = self._skip_space()
        found = _OPERATOR.match(self._text, start)
        if found is None:
            raise self._error("expected one of " + " ".join(known.value for known in Operator))
        self._at = found.end()
        return Operator(found[0])

    def _value(self) -> str:
        start = self._skip_space()
        if not self._text.startswith('"', start):
            found = _BARE.match(self._text, start)
            text = found[0].strip() if found else ""
            if not text:
                raise self._error('expected a value ("" for the empty one)')
            self._at = start + len(found[0]) if found else start
            return text
        if doubly := _DOUBLY_QUOTED.match(self._text, start):
            self._at = doubly.end()
            return f'"{doubly[1]}"'
        quoted = _QUOTED.match(self._text, start)
        if quoted is None:
            raise FilterError(len(self._text) + 1, "expected a closing '\"'")
        self._at = quoted.end()
        return quoted[1].replace('""', '"')

    def _skip_space(self) -> int:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._skip_space()):
            return False
        self._at += len(sign)
        return True

    def _error(self, message: str) -> FilterError:
        return FilterError(self._skip_space() + 1, message)
