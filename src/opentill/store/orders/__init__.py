"""Orders and money: the contract of their batches and reads, the statements, and rows to values."""
