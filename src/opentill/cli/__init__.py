"""The command line. Every Python 3 can read this module, which imports nothing; ``__main__.py`` begins."""

OPERATOR_ERROR = 2
"""Exit status of everything that the person at the keyboard can put right."""
