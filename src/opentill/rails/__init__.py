"""How money comes in and goes back. Only the payment services call a rail, and never inside a transaction."""
