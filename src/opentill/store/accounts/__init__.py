"""Merchants, their sub-accounts and clients, tokens, and what an installation is stamped with."""
