"""A merchant's orders, on a running server."""
