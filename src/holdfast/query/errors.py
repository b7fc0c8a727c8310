"""What is wrong with a query, in words for the person who wrote it."""

from __future__ import annotations


class QueryError(ValueError):
    """A query that cannot be answered. `parameter` names the query parameter at fault."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class FilterError(QueryError):
    """A malformed filter. `position` counts characters of the filter from 1."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__("filter", f"Filter, position {position}: {message}")
        self.position = position
