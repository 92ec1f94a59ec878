"""The two directories of transfers: which number was given to which order, and what banks told us."""
