"""XML and JSON of rows: writers, readers of requests, links, paging, errors."""
