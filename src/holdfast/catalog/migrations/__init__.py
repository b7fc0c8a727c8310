"""The catalog's migrations. One that has shipped is never changed: add another."""
