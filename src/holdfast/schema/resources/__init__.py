"""The declarations of the resource types, grouped as the API groups them."""
