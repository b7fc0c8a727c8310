"""The query language of the API: text in, `Query` out. Pure: no I/O, no rows, no SQL."""
