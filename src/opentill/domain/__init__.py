"""The pure core: it decides what a command does to an order, and imports only the standard library."""
