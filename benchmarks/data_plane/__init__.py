"""How fast backups and restores of a machine are, beside other ways to the same result."""
