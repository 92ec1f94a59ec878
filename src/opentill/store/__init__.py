"""The only place with SQL or a database driver."""
