"""How money comes in and goes back. Only ``desk`` calls a rail, and never inside a transaction."""
