"""The two databases: how each is opened, begins, commits and is migrated, and in which words."""
