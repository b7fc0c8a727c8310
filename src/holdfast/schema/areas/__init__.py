"""The calls of the API, area by area: what `holdfast.schema.calls` reads."""
