"""The pure core: it decides what a command does to an order; it imports the standard library and structs."""
