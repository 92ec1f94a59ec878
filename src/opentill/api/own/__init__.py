"""opentill's own surface beside Nomba's (contract 10)."""
