"""The JSON API: the only place that knows the wire."""
