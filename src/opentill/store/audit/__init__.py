"""Whether the books hold: every invariant over a whole database, and the ledger as it was booked."""
