"""The history of the server database's schema. A migration that has shipped is never edited."""
