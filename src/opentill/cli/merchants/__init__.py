"""Merchants, their sub-accounts and the credentials of their programs."""
