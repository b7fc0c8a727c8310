"""The REST API: who asks, may they, what for, and the answer's bytes."""
