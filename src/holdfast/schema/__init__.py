"""What exists: every resource type of the API, declared once."""
