"""The one door: commands go in, and answers come out after their commit."""
