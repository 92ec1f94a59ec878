"""Money that waits for a person, and the books."""
