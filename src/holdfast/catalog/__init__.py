"""The catalog: every row the API answers from, its tables, its reading and writing."""
